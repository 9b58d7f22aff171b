//! What tags may be, on functions and event source mappings.

use crate::{Error, model::IDLE_TAG};
use std::collections::BTreeMap;

/// Tags of one function or event source mapping.
const TAGS_MAX: usize = 50;
/// The most that [`IDLE_TAG`] can say.
const IDLE_S_MAX: u32 = 86_400;

/// Tags to set on what has `present` already.
pub fn merge(
    present: &BTreeMap<String, String>,
    added: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    for (key, value) in added {
        if !(1..=128).contains(&key.chars().count()) {
            return Err(Error::invalid("The tag key must have 1 to 128 characters."));
        }
        if value.chars().count() > 256 {
            return Err(Error::InvalidParameter(format!(
                "The value of tag {key} must have at most 256 characters."
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::InvalidParameter(format!("The tag key {key} has the reserved prefix aws:.")));
        }
        if key == IDLE_TAG && value.parse::<u32>().map_or(true, |seconds| seconds > IDLE_S_MAX) {
            return Err(Error::InvalidParameter(format!(
                "The tag {IDLE_TAG} must be a number of seconds from 0 to {IDLE_S_MAX}."
            )));
        }
    }
    let mut tags = present.clone();
    tags.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_bounded() {
        let many: BTreeMap<String, String> = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
        let tags_now = merge(&BTreeMap::new(), &many).unwrap();
        assert!(merge(&tags_now, &BTreeMap::from([("k0".into(), "changed".into())])).is_ok());
        assert!(merge(&tags_now, &BTreeMap::from([("one more".into(), String::new())])).is_err());
        assert!(merge(&BTreeMap::new(), &BTreeMap::from([("aws:x".into(), String::new())])).is_err());
        assert!(merge(&BTreeMap::new(), &BTreeMap::from([(String::new(), String::new())])).is_err());
    }
}
