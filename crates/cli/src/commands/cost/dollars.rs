//! Sums of amounts as the node writes them: exact decimals with at most twelve digits after the point.

const PLACES: usize = 12;

/// The sum of `amounts`; `None` if one is no such decimal.
pub(crate) fn sum<'a>(amounts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut sum: u128 = 0;
    for amount in amounts {
        sum = sum.checked_add(pico(amount)?)?;
    }
    Some(text(sum))
}

/// An amount divided by a count, cut to a trillionth of a dollar.
pub(crate) fn divided(amount: &str, by: u64) -> Option<String> {
    Some(text(pico(amount)?.checked_div(u128::from(by))?))
}

fn pico(amount: &str) -> Option<u128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > PLACES || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<PLACES$}").parse().ok()
}

fn text(pico: u128) -> String {
    let one = 10_u128.pow(PLACES as u32);
    let fraction = format!("{:0PLACES$}", pico % one);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{}.{}", pico / one, fraction.get(..kept).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_added_exactly() {
        assert_eq!(sum(["0.10", "0.0000002", "12"]).as_deref(), Some("12.1000002"));
        assert_eq!(sum([]).as_deref(), Some("0.00"));
        for bad in ["", "x", "-1", "1.0000000000001", "."] {
            assert_eq!(sum([bad]), None, "{bad}");
        }
        assert_eq!(divided("2.20", 1_000_000).as_deref(), Some("0.0000022"));
        assert_eq!(divided("1", 0), None);
    }
}
