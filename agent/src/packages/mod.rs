//! What is installed here, read without starting a program.

pub(crate) mod dpkg;
