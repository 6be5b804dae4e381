//! Which start of the machine this is.

/// Changes when the machine reboots; empty where the system does not tell.
pub(crate) fn id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The same as a number; 0 where the system does not tell.
pub(crate) fn number() -> u128 {
    u128::from_str_radix(&id().replace('-', ""), 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_and_both_forms_are_the_same() {
        assert_eq!(format!("{:032x}", number()), id().replace('-', ""));
    }
}
