//! Documentation that is made from the program itself, and can therefore not say anything else than the program does.

pub mod modules;
#[cfg(test)]
mod schemas;
