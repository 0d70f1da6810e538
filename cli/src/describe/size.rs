//! Numbers of bytes as people read them, in units of 1024.

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// `7.4 GiB`.
pub(crate) fn whole(bytes: u64) -> String {
    let unit = unit(bytes);
    format!("{} {}", in_unit(bytes, unit), UNITS[unit])
}

/// `7.4/15.6 GiB`: both in the unit of the greater one.
pub(crate) fn part(bytes: u64, of: u64) -> String {
    let unit = unit(of.max(bytes));
    format!("{}/{} {}", in_unit(bytes, unit), in_unit(of, unit), UNITS[unit])
}

fn unit(bytes: u64) -> usize {
    let exponent = bytes.checked_ilog2().unwrap_or(0) / 10;
    usize::try_from(exponent).unwrap_or(0).min(UNITS.len() - 1)
}

fn in_unit(bytes: u64, unit: usize) -> String {
    if unit == 0 {
        return bytes.to_string();
    }
    let one = 1_u64 << (10 * unit);
    // In tenths, rounded.
    let tenths = (u128::from(bytes) * 10 + u128::from(one / 2)) / u128::from(one);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_after_the_point() {
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 30) - 1, "1024.0 MiB"),
            (16_777_216_000, "15.6 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(whole(bytes), said);
        }
        assert_eq!(part(0, 2 << 30), "0.0/2.0 GiB");
        assert_eq!(part(5 << 20, 8 << 20), "5.0/8.0 MiB");
    }
}
