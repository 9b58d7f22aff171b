//! Layers: how they are named, what may be said of them, who may use them, and which a function may have together.

use crate::{
    Error,
    logic::names::{Asker, is_account, is_layer_name, is_partition, is_region},
    logic::policy::{Asked, Grantee, Policy, Statement, Who},
    model::{Label, LayerId, LayerUse, LayerVersion},
};
use base::{AccountId, Principal, Region, limits};
use wire::Violations;

const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+";
const VERSION_PATTERN: &str = r"((arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+))";
const STATEMENT_PATTERN: &str = "([a-zA-Z0-9-_]+)";
const PRINCIPAL_PATTERN: &str = r"\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root";
/// What a layer's policy can allow.
pub const ACTION: &str = "lambda:GetLayerVersion";
const NAME_LENGTH_MAX: usize = 140;
const RUNTIMES_MAX: usize = 15;
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];
/// Identifiers that labels may name, whether Neap runs them or not. Source: Lambda API model, `Runtime`.
const RUNTIMES: [&str; 53] = [
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "nodejs26.x",
    "java8",
    "java8.al2",
    "java8.al2023",
    "java11",
    "java11.al2023",
    "java17",
    "java17.al2023",
    "java21",
    "java25",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "python3.15",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "dotnet8",
    "dotnet10",
    "go1.x",
    "ruby2.5",
    "ruby2.7",
    // Not Lambda's: Neap serves it where a host has it.
    "ruby3.1",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "ruby4.0",
    "provided",
    "provided.al2",
    "provided.al2023",
    "custom",
];

/// A layer's ARN taken apart, perhaps with a version; borrowed from the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerArn<'a> {
    /// Region.
    pub region: &'a str,
    /// 12 digits.
    pub account: &'a str,
    /// Letters, digits, hyphens and underscores.
    pub name: &'a str,
    /// Digits, if given.
    pub version: Option<&'a str>,
}

impl<'a> LayerArn<'a> {
    /// Takes `arn:PARTITION:lambda:REGION:ACCOUNT:layer:NAME[:VERSION]` apart; `None` if it does not fit the grammar.
    pub fn parse(text: &'a str) -> Option<LayerArn<'a>> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let (
            Some("arn"),
            Some(partition),
            Some("lambda"),
            Some(region),
            Some(account),
            Some("layer"),
            Some(name),
        ) = (next(), next(), next(), next(), next(), next(), next())
        else {
            return None;
        };
        let version = next();
        let number = version.is_none_or(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
        let fits = is_partition(partition)
            && is_region(region.strip_prefix("eusc-").unwrap_or(region))
            && is_account(account)
            && is_layer_name(name)
            && number
            && next().is_none();
        fits.then_some(LayerArn { region, account, name, version })
    }
}

/// The layer that a request names, by name or by ARN without version.
pub fn layer(asker: Asker<'_>, text: &str) -> Result<LayerId, Error> {
    let mut violations = Violations::default();
    violations.length("layerName", text, 1..=NAME_LENGTH_MAX);
    let arn = LayerArn::parse(text).filter(|arn| arn.version.is_none());
    violations.pattern("layerName", text, NAME_PATTERN, arn.is_some() || is_layer_name(text));
    finish(violations)?;
    match arn {
        Some(arn) => reachable(asker, &arn, text),
        None => Ok(LayerId { account: asker.account, region: asker.region.clone(), name: text.to_owned() }),
    }
}

/// The layer version that an ARN names.
pub fn version_by_arn(asker: Asker<'_>, text: &str) -> Result<(LayerId, u64), Error> {
    let mut violations = Violations::default();
    violations.length("arn", text, 1..=2048);
    violations.pattern("arn", text, VERSION_PATTERN, is_version_arn(text));
    finish(violations)?;
    let Some((arn, number)) = numbered(text) else { return Err(Error::NoResource) };
    Ok((reachable(asker, &arn, text)?, number))
}

/// A version number of a request.
pub fn version(number: i64) -> Result<u64, Error> {
    match u64::try_from(number) {
        Ok(0) | Err(_) => Err(Error::invalid("Layer Version Cannot be less than 1.")),
        Ok(number) => Ok(number),
    }
}

/// The ARN that permission to act on `text` is asked for.
pub fn permission_arn(account: AccountId, region: &Region, text: &str, version: Option<i64>) -> String {
    let arn = LayerArn::parse(text);
    let (region, account, name) = match &arn {
        Some(arn) => (arn.region, arn.account, arn.name),
        None => (region.as_str(), account.as_str(), text),
    };
    let layer = format!("arn:aws:lambda:{region}:{account}:layer:{name}");
    let named = arn.and_then(|arn| arn.version).map(str::to_owned);
    match version.map(|number| number.to_string()).or(named) {
        Some(version) => format!("{layer}:{version}"),
        None => layer,
    }
}

fn is_version_arn(text: &str) -> bool {
    let managed = || {
        let mut parts = text.splitn(3, ':');
        let (arn, partition, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let name = rest.strip_prefix("lambda:::awslayer:")?;
        let word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        Some(arn == "arn" && word(partition) && is_layer_name(name))
    };
    LayerArn::parse(text).is_some_and(|arn| arn.version.is_some()) || managed() == Some(true)
}

/// A version's ARN with its number; `None` for layers of AWS's own and for numbers that no version has.
fn numbered(text: &str) -> Option<(LayerArn<'_>, u64)> {
    let arn = LayerArn::parse(text)?;
    let number = arn.version?.parse().ok().filter(|number| *number > 0)?;
    Some((arn, number))
}

fn reachable(asker: Asker<'_>, arn: &LayerArn<'_>, text: &str) -> Result<LayerId, Error> {
    let id = owner(asker, arn)?;
    if id.account != asker.account {
        return Err(foreign(asker, text));
    }
    Ok(id)
}

fn owner(asker: Asker<'_>, arn: &LayerArn<'_>) -> Result<LayerId, Error> {
    if arn.region != asker.region.as_str() {
        return Err(Error::LayerOtherRegion { named: arn.region.to_owned(), here: asker.region.to_string() });
    }
    let account = arn.account.parse().map_err(|_| Error::NoResource)?;
    Ok(LayerId { account, region: asker.region.clone(), name: arn.name.to_owned() })
}

fn foreign(asker: Asker<'_>, resource: &str) -> Error {
    Error::OtherAccount { who: (asker.who)(), action: asker.action, resource: resource.to_owned() }
}

/// What a request says of a new version.
pub fn label(
    description: Option<String>,
    license: Option<String>,
    runtimes: Option<Vec<String>>,
    architectures: Option<Vec<String>>,
) -> Result<Label, Error> {
    let mut violations = Violations::default();
    violations.length("description", description.as_deref().unwrap_or_default(), 0..=256);
    violations.length("licenseInfo", license.as_deref().unwrap_or_default(), 0..=512);
    for (member, words, known, max) in [
        ("compatibleRuntimes", &runtimes, RUNTIMES.as_slice(), RUNTIMES_MAX),
        ("compatibleArchitectures", &architectures, ARCHITECTURES.as_slice(), ARCHITECTURES.len()),
    ] {
        let Some(words) = words else { continue };
        let shown = || format!("[{}]", words.join(", "));
        if words.len() > max {
            violations.add(shown(), member, &format!("Member must have length less than or equal to {max}"));
        }
        if !words.iter().all(|word| known.contains(&word.as_str())) {
            let set = known.join(", ");
            let constraint = format!(
                "Member must satisfy constraint: [Member must satisfy enum value set: [{set}], Member must not be null]"
            );
            violations.add(shown(), member, &constraint);
        }
    }
    finish(violations)?;
    Ok(Label { description: description.unwrap_or_default(), license, runtimes, architectures })
}

/// Which versions a list shows.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    runtime: Option<String>,
    architecture: Option<String>,
}

impl Filter {
    /// From a request.
    pub fn new(runtime: Option<String>, architecture: Option<String>) -> Result<Filter, Error> {
        let mut violations = Violations::default();
        for (member, word, known) in [
            ("compatibleRuntime", &runtime, RUNTIMES.as_slice()),
            ("compatibleArchitecture", &architecture, ARCHITECTURES.as_slice()),
        ] {
            if let Some(word) = word {
                violations.one_of(member, word, known);
            }
        }
        finish(violations)?;
        Ok(Filter { runtime, architecture })
    }

    /// Whether its label names what is asked for.
    pub fn shows(&self, version: &LayerVersion) -> bool {
        let names = |wanted: &Option<String>, named: &Option<Vec<String>>| {
            wanted.as_ref().is_none_or(|word| named.as_ref().is_some_and(|words| words.contains(word)))
        };
        names(&self.runtime, &version.label.runtimes)
            && names(&self.architecture, &version.label.architectures)
    }
}

/// The layers that a function is to have, by owner, name and number: as many as allowed, each once.
pub fn wanted(asker: Asker<'_>, arns: &[String]) -> Result<Vec<(LayerId, u64)>, Error> {
    if arns.len() > limits::LAYERS_MAX {
        return Err(Error::InvalidParameter(format!(
            "Cannot reference more than {} layers.",
            limits::LAYERS_MAX
        )));
    }
    let mut wanted: Vec<(LayerId, u64)> = Vec::new();
    for text in arns {
        let (arn, number) = numbered(text).ok_or_else(|| Error::NoLayerVersion(text.clone()))?;
        let id = match owner(asker, &arn) {
            Err(Error::LayerOtherRegion { here, .. }) => {
                return Err(Error::InvalidParameter(format!(
                    "Layers are not in the same region as the function. Layers are expected to be in region {here}."
                )));
            }
            other => other?,
        };
        if let Some((_, first)) = wanted.iter().find(|(other, _)| *other == id) {
            return Err(Error::InvalidParameter(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {} and {text} are versions of the same layer.",
                id.version_arn(*first)
            )));
        }
        wanted.push((id, number));
    }
    Ok(wanted)
}

/// Members of `Layers` that are no ARNs of layer versions.
pub fn check_arns(arns: &[String], violations: &mut Violations) {
    if !arns.iter().all(|arn| (1..=2048).contains(&arn.len()) && is_version_arn(arn)) {
        let constraint = format!(
            "Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: {VERSION_PATTERN}, Member must not be null]"
        );
        violations.add(format!("[{}]", arns.join(", ")), "layers", &constraint);
    }
}

/// The layer as a function takes it, if it is there and the function's account may use it: its own always, another's by
/// a statement of its policy. What does not exist in another account is refused as what may not be used.
pub fn take(
    asker: Asker<'_>,
    (id, number): &(LayerId, u64),
    found: Option<&LayerVersion>,
) -> Result<LayerUse, Error> {
    let arn = id.version_arn(*number);
    match found {
        Some(version)
            if version.id.account == asker.account || admits(version.policy.as_ref(), asker.account) =>
        {
            Ok(version.taken())
        }
        None if id.account == asker.account => Err(Error::NoLayerVersion(arn)),
        Some(_) | None => Err(foreign(Asker { action: ACTION, ..asker }, &arn)),
    }
}

fn admits(policy: Option<&Policy>, account: AccountId) -> bool {
    let who = Principal::Root { account };
    let asked = Asked { who: Who::Principal(&who), action: ACTION, url_auth: None };
    policy.is_some_and(|policy| policy.allows(asked))
}

/// Refuses a function whose code and layers are too large together.
pub fn check_size(code: u64, layers: &[LayerUse]) -> Result<(), Error> {
    let size = layers.iter().fold(code, |sum, layer| sum.saturating_add(layer.unpacked));
    let max = limits::PACKAGE_UNPACKED_MAX.0;
    if layers.is_empty() || size <= max {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!(
        "Function code combined with layers exceeds the maximum allowed size of {max} bytes. The actual size is {size} bytes."
    )))
}

/// The statement that a request wants added to the policy of the layer version `arn`.
pub fn statement(arn: &str, sid: &str, action: &str, principal: &str) -> Result<Statement, Error> {
    let mut violations = Violations::default();
    violations.length("statementId", sid, 1..=100);
    violations.pattern("statementId", sid, STATEMENT_PATTERN, is_layer_name(sid));
    violations.pattern("action", action, ACTION, action == ACTION);
    let account = principal.strip_prefix("arn:").map_or(Some(principal), |rest| {
        let (partition, account) = rest.split_once(":iam::")?;
        let fits = !partition.is_empty() && is_partition(partition);
        account.strip_suffix(":root").filter(|_| fits)
    });
    let grantee = match principal {
        "*" => Some(Grantee::everyone()),
        _ => account.and_then(|account| account.parse().ok()).map(|account| Grantee::account(&account)),
    };
    violations.pattern("principal", principal, PRINCIPAL_PATTERN, grantee.is_some());
    finish(violations)?;
    grantee.map(|grantee| Statement::allow(sid, grantee, ACTION, arn.to_owned())).ok_or(Error::NoResource)
}

fn finish(violations: Violations) -> Result<(), Error> {
    if violations.is_empty() { Ok(()) } else { Err(Error::Constraints(violations.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::policy;
    use base::{CodeSha256, RequestId, Timestamp};
    use proptest::prelude::*;

    const OWN: AccountId = AccountId::DEFAULT;

    fn with<T>(act: impl FnOnce(Asker<'_>) -> T) -> T {
        let region: Region = "us-east-1".parse().unwrap();
        let who = || "arn:aws:iam::000000000000:root".to_owned();
        act(Asker { account: OWN, region: &region, who: &who, action: "lambda:GetLayerVersion" })
    }

    fn of(account: &str) -> LayerVersion {
        LayerVersion {
            id: LayerId {
                account: account.parse().unwrap(),
                region: "us-east-1".parse().unwrap(),
                name: "l".to_owned(),
            },
            version: 1,
            created: Timestamp(0),
            label: Label::default(),
            code: CodeSha256([1; 32]),
            code_size: 10,
            unpacked: 20,
            policy: None,
        }
    }

    #[test]
    fn arns_are_taken_apart_and_others_refused() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:layer:l";
        assert_eq!(LayerArn::parse(arn).unwrap().version, None);
        assert_eq!(LayerArn::parse(&format!("{arn}:7")).unwrap().version, Some("7"));
        for bad in [
            "",
            "l",
            "arn:aws:lambda:us-east-1:000000000000:function:l",
            "arn:aws:lambda:us-east-1:000000000000:layer:",
            "arn:aws:lambda:us-east-1:000000000000:layer:a.b",
            "arn:aws:lambda:us-east-1:000000000000:layer:l:x",
            "arn:aws:lambda:us-east-1:000000000000:layer:l:1:2",
            "arn:aws:lambda:us-east-1:0:layer:l",
            "arn:gcp:lambda:us-east-1:000000000000:layer:l",
        ] {
            assert_eq!(LayerArn::parse(bad), None, "{bad}");
        }
        with(|asker| {
            assert_eq!(layer(asker, "l").unwrap().arn(), arn);
            assert_eq!(layer(asker, arn).unwrap().arn(), arn);
            assert!(matches!(layer(asker, &format!("{arn}:1")), Err(Error::Constraints(_))));
            assert_eq!(version_by_arn(asker, &format!("{arn}:3")).unwrap().1, 3);
            let foreign = "arn:aws:lambda:us-east-1:111111111111:layer:l";
            assert!(matches!(layer(asker, foreign), Err(Error::OtherAccount { .. })));
            let away = "arn:aws:lambda:eu-west-1:000000000000:layer:l";
            assert!(matches!(layer(asker, away), Err(Error::LayerOtherRegion { .. })));
            assert!(matches!(version_by_arn(asker, "arn:aws:lambda:::awslayer:x"), Err(Error::NoResource)));
            let endless = format!("{arn}:99999999999999999999999");
            assert!(matches!(version_by_arn(asker, &endless), Err(Error::NoResource)));
        });
    }

    #[test]
    fn another_accounts_layer_needs_a_statement_that_names_the_account() {
        let own = of("000000000000");
        let mut theirs = of("111111111111");
        let taken = |found: Option<&LayerVersion>, id: &LayerVersion| {
            with(|asker| take(asker, &(id.id.clone(), id.version), found)).is_ok()
        };
        assert!(taken(Some(&own), &own));
        assert!(!taken(None, &own));
        assert!(!taken(Some(&theirs), &theirs) && !taken(None, &theirs));
        let id = RequestId::from_random([1; 16]);
        for (principal, admitted) in [
            ("222222222222", false),
            ("000000000000", true),
            ("arn:aws:iam::000000000000:root", true),
            ("*", true),
        ] {
            let permission = statement("arn", "s", ACTION, principal).unwrap();
            theirs.policy = Some(policy::add(None, permission, id).unwrap());
            assert_eq!(taken(Some(&theirs), &theirs), admitted, "{principal}");
        }
    }

    #[test]
    fn statements_that_say_anything_else_are_refused() {
        let shown = statement("arn", "a", ACTION, "123456789012").unwrap().document();
        assert!(shown.contains(r#""Principal":{"AWS":"arn:aws:iam::123456789012:root"}"#), "{shown}");
        for (sid, action, principal) in [
            ("", ACTION, "*"),
            ("a", "lambda:*", "*"),
            ("a", ACTION, "12"),
            ("a", ACTION, "arn:aws:iam::1:root"),
            ("a", ACTION, "s3.amazonaws.com"),
        ] {
            assert!(statement("arn", sid, action, principal).is_err());
        }
    }

    #[test]
    fn code_and_layers_share_one_limit() {
        let max = limits::PACKAGE_UNPACKED_MAX.0;
        let layer = LayerUse { unpacked: 10, ..of("000000000000").taken() };
        assert!(check_size(max - 10, std::slice::from_ref(&layer)).is_ok());
        assert!(check_size(max - 9, std::slice::from_ref(&layer)).is_err());
        assert!(check_size(max, &[]).is_ok());
        assert!(check_size(u64::MAX, &[layer]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_layer_or_is_refused(text in ".{0,200}", near in "arn:aws:lambda:us-east-1:0{12}:layer:[a-z:0-9]{0,9}") {
            for text in [&text, &near] {
                with(|asker| {
                    if let Ok(id) = layer(asker, text) { prop_assert!(text.contains(&id.name)); }
                    if let Ok((id, number)) = version_by_arn(asker, text) {
                        prop_assert!(number > 0 && text.contains(&id.name));
                    }
                    let _ = permission_arn(asker.account, asker.region, text, None);
                    let _ = wanted(asker, std::slice::from_ref(text));
                    let _ = statement("arn", text, ACTION, text);
                    Ok(())
                })?;
            }
        }
    }
}
