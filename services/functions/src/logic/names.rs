//! How requests name functions. Grammar: the `FunctionName` pattern of the Lambda API model,
//! `(arn:(aws[a-zA-Z-]*)?:lambda:)?(REGION:)?(ACCOUNT:)?(function:)?NAME(:QUALIFIER)?`, in which each prefix may be
//! missing. Where a text can be read in two ways the longest prefix wins, as a regular expression reads it:
//! `function:x` is the function `x`, `function` alone is a function named `function`.

use crate::{
    Error,
    model::{FunctionId, Qualifier, Target},
};
use base::{AccountId, Arn, FunctionName, Region, RequestId};
use std::fmt;
use wire::Violations;

/// The pattern as messages show it.
const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
/// The same for operations that also take names with dots, which no function has.
const NAMESPACED_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
/// Of `TagResource` and its like.
const TAGGABLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*):lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})";
/// Observed text for qualifiers.
const QUALIFIER_PATTERN: &str = "(|[a-zA-Z0-9$_-]+)";

/// Longest `FunctionName` that operations take.
const REFERENCE_LENGTH_MAX: usize = 140;
/// The same for operations that take [`NAMESPACED_PATTERN`].
const NAMESPACED_LENGTH_MAX: usize = 256;

/// Which of the two patterns an operation has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `FunctionName` of the model.
    Plain,
    /// `NamespacedFunctionName`.
    Namespaced,
}

/// A function reference taken apart; borrowed from the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reference<'a> {
    /// Region, if given.
    pub region: Option<&'a str>,
    /// 12 digits, if given.
    pub account: Option<&'a str>,
    /// The name: letters, digits, hyphens, underscores and, in [`Form::Namespaced`], dots. May be over-long.
    pub name: &'a str,
    /// Version or alias, if given.
    pub qualifier: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Takes `text` apart; `None` if it does not fit the grammar.
    pub fn parse(text: &'a str, form: Form) -> Option<Reference<'a>> {
        // At most: arn, partition, lambda, region, account, function, name, qualifier.
        let mut parts = [""; 8];
        let mut count = 0;
        for part in text.split(':') {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        let parts = parts.get(..count)?;
        match parts {
            ["arn", partition, "lambda", rest @ ..] if is_partition(partition) => after_service(rest, form),
            _ => after_service(parts, form),
        }
    }

    /// Whether the text was the name and nothing else.
    fn bare(&self) -> bool {
        self.region.is_none() && self.account.is_none() && self.qualifier.is_none()
    }
}

fn after_service<'a>(parts: &[&'a str], form: Form) -> Option<Reference<'a>> {
    if let [region, rest @ ..] = parts
        && is_region(region)
        && let Some(found) = after_region(rest, form)
    {
        return Some(Reference { region: Some(region), ..found });
    }
    after_region(parts, form)
}

fn after_region<'a>(parts: &[&'a str], form: Form) -> Option<Reference<'a>> {
    if let [account, rest @ ..] = parts
        && is_account(account)
        && let Some(found) = after_account(rest, form)
    {
        return Some(Reference { account: Some(account), ..found });
    }
    after_account(parts, form)
}

fn after_account<'a>(parts: &[&'a str], form: Form) -> Option<Reference<'a>> {
    if let ["function", rest @ ..] = parts
        && let Some(found) = name_and_qualifier(rest, form)
    {
        return Some(found);
    }
    name_and_qualifier(parts, form)
}

fn name_and_qualifier<'a>(parts: &[&'a str], form: Form) -> Option<Reference<'a>> {
    let (name, qualifier) = match *parts {
        [name] => (name, None),
        [name, qualifier] => (name, Some(qualifier)),
        _ => return None,
    };
    let fits = is_name(name, form) && qualifier.is_none_or(|q| q == "$LATEST" || is_name(q, Form::Plain));
    fits.then_some(Reference { name, qualifier, ..Reference::default() })
}

pub(super) fn is_partition(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix("aws")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
}

pub(super) fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return false };
    let lower = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let iso = |word: &str| {
        word.strip_prefix("iso").is_some_and(|rest| rest.is_empty() || (rest.len() == 1 && lower(rest)))
    };
    let Some((continent, place)) = words.split_once('-') else { return false };
    let place = match place.split_once('-') {
        Some((kind, place)) if kind == "gov" || iso(kind) => place,
        Some(_) => return false,
        None => place,
    };
    continent.len() == 2
        && lower(continent)
        && lower(place)
        && number.len() == 1
        && number.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Letters, digits, hyphens and underscores, at least one.
pub(super) fn is_layer_name(text: &str) -> bool {
    is_name(text, Form::Plain)
}

fn is_name(text: &str, form: Form) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || (b == b'.' && form == Form::Namespaced)
        })
}

fn is_qualifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'$' | b'_' | b'-'))
}

/// Where and as whom a request asks.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The caller's account.
    pub account: AccountId,
    /// The request's region.
    pub region: &'a Region,
    /// ARN of the caller, for refusals; asked for only then.
    pub who: &'a dyn Fn() -> String,
    /// IAM name of the operation.
    pub action: &'static str,
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asker({} in {} for {})", self.account, self.region, self.action)
    }
}

/// What `text` with the separate `qualifier` parameter names.
pub fn target(asker: Asker<'_>, text: &str, qualifier: Option<&str>, form: Form) -> Result<Target, Error> {
    let (pattern, length_max) = match form {
        Form::Plain => (NAME_PATTERN, REFERENCE_LENGTH_MAX),
        Form::Namespaced => (NAMESPACED_PATTERN, NAMESPACED_LENGTH_MAX),
    };
    let mut violations = Violations::default();
    violations.length("functionName", text, 1..=length_max);
    let reference = Reference::parse(text, form);
    violations.pattern("functionName", text, pattern, reference.is_some());
    if let Some(qualifier) = qualifier {
        violations.length("qualifier", qualifier, 1..=128);
        violations.pattern("qualifier", qualifier, QUALIFIER_PATTERN, is_qualifier(qualifier));
    }
    let Some(reference) = reference.filter(|_| violations.is_empty()) else {
        return Err(Error::Constraints(violations.to_string()));
    };
    let (account, region) = (asker.account, reachable(asker, &reference, text)?);
    let word = match (reference.qualifier, qualifier) {
        (Some(inside), Some(beside)) if inside != beside => {
            return Err(Error::invalid(
                "The derived qualifier from the function name does not match the specified qualifier.",
            ));
        }
        (inside, beside) => beside.or(inside),
    };
    // A name that fits the pattern but not a function's (too long, dots) is one that no function has.
    let name: FunctionName = reference.name.parse().map_err(|_| {
        let arn = format!("arn:aws:lambda:{region}:{account}:function:{}", reference.name);
        Error::NotFound(word.map_or(arn.clone(), |word| format!("{arn}:{word}")))
    })?;
    let id = FunctionId { account, region: region.clone(), name };
    Ok(Target { id, qualifier: word.map(Qualifier::of) })
}

/// The account that a reference names, if it names one.
pub fn owner(text: &str) -> Option<AccountId> {
    Reference::parse(text, Form::Namespaced)?.account?.parse().ok()
}

/// [`target`] for invocations, which may be of functions of other accounts.
pub fn invoked(asker: Asker<'_>, text: &str, qualifier: Option<&str>) -> Result<Target, Error> {
    let account = owner(text).unwrap_or(asker.account);
    target(Asker { account, ..asker }, text, qualifier, Form::Namespaced)
}

/// [`target`] for operations on whole functions only.
pub fn unqualified(asker: Asker<'_>, text: &str, form: Form) -> Result<FunctionId, Error> {
    let target = target(asker, text, None, form)?;
    match target.qualifier {
        None => Ok(target.id),
        Some(_) => Err(Error::invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
        )),
    }
}

/// The name that a new function is to have.
pub fn new_function(asker: Asker<'_>, text: &str) -> Result<FunctionId, Error> {
    let mut violations = Violations::default();
    violations.length("functionName", text, 1..=REFERENCE_LENGTH_MAX);
    let reference = Reference::parse(text, Form::Plain);
    violations.pattern("functionName", text, NAME_PATTERN, reference.is_some_and(|r| r.qualifier.is_none()));
    let Some(reference) = reference.filter(|_| violations.is_empty()) else {
        let text_given = violations.to_string();
        // Observed: for a bare name Lambda itself answers, for an ARN the framework in front of it.
        return Err(match reference.is_some_and(|r| r.bare()) {
            true => Error::InvalidParameter(text_given),
            false => Error::Constraints(text_given),
        });
    };
    let region = reachable(asker, &reference, text)?;
    let name = reference.name.parse().map_err(|_| {
        let mut violations = Violations::default();
        violations.length("functionName", reference.name, 1..=64);
        Error::InvalidParameter(violations.to_string())
    })?;
    Ok(FunctionId { account: asker.account, region: region.clone(), name })
}

/// What can have tags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taggable {
    /// A function.
    Function(FunctionId),
    /// An event source mapping.
    Mapping(RequestId),
}

/// What a tag operation's ARN names.
pub fn taggable(asker: Asker<'_>, arn: &str) -> Result<Taggable, Error> {
    let mut violations = Violations::default();
    violations.length("resource", arn, 1..=256);
    let kind = arn.split(':').nth(5);
    let reference = Reference::parse(arn, Form::Plain).filter(|r| {
        arn.starts_with("arn:aws") && r.region.is_some() && r.account.is_some() && kind == Some("function")
    });
    let foreign = matches!(kind, Some("layer" | "code-signing-config" | "event-source-mapping"))
        && arn.starts_with("arn:aws");
    violations.pattern("resource", arn, TAGGABLE_PATTERN, reference.is_some() || foreign);
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    if let Some(named) = mapping(arn) {
        let [region, account] = [3, 4].map(|place| arn.split(':').nth(place));
        reachable(asker, &Reference { region, account, ..Reference::default() }, arn)?;
        return Ok(Taggable::Mapping(named));
    }
    let Some(reference) = reference else { return Err(Error::NotFound(arn.to_owned())) };
    let region = reachable(asker, &reference, arn)?;
    if reference.qualifier.is_some() {
        return Err(Error::invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    let name = reference.name.parse().map_err(|_| Error::NotFound(arn.to_owned()))?;
    Ok(Taggable::Function(FunctionId { account: asker.account, region: region.clone(), name }))
}

/// The event source mapping that an ARN names, if it names one.
fn mapping(arn: &str) -> Option<RequestId> {
    let arn: Arn = arn.parse().ok().filter(|arn: &Arn| &*arn.service == "lambda")?;
    arn.resource.strip_prefix("event-source-mapping:")?.parse().ok()
}

/// The ARN that permission to act on `text` is asked for; the caller's own unless the text names another.
pub fn permission_arn(account: AccountId, region: &Region, text: &str, qualifier: Option<&str>) -> String {
    if mapping(text).is_some() {
        return text.to_owned();
    }
    let reference =
        Reference::parse(text, Form::Namespaced).unwrap_or(Reference { name: text, ..Reference::default() });
    let region = reference.region.unwrap_or(region.as_str());
    let account = reference.account.unwrap_or(account.as_str());
    let (between, qualifier) =
        qualifier.or(reference.qualifier).map_or(("", ""), |qualifier| (":", qualifier));
    ["arn:aws:lambda:", region, ":", account, ":function:", reference.name, between, qualifier].concat()
}

/// Refuses references to other accounts and regions.
fn reachable<'a>(asker: Asker<'a>, reference: &Reference<'_>, text: &str) -> Result<&'a Region, Error> {
    if reference.account.is_some_and(|account| account != asker.account.as_str()) {
        return Err(Error::OtherAccount {
            who: (asker.who)(),
            action: asker.action,
            resource: permission_arn(asker.account, asker.region, text, None),
        });
    }
    match reference.region {
        Some(named) if named != asker.region.as_str() => {
            Err(Error::OtherRegion { named: named.to_owned(), here: asker.region.to_string() })
        }
        _ => Ok(asker.region),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Version;
    use proptest::prelude::*;

    fn ask(text: &str, qualifier: Option<&str>) -> Result<Target, Error> {
        with(text, |asker| target(asker, text, qualifier, Form::Plain))
    }

    fn with<T>(_: &str, act: impl FnOnce(Asker<'_>) -> T) -> T {
        let region: Region = "us-east-1".parse().unwrap();
        let who = || "arn:aws:iam::123456789012:root".to_owned();
        let account = "123456789012".parse().unwrap();
        act(Asker { account, region: &region, who: &who, action: "lambda:GetFunction" })
    }

    #[test]
    fn every_form_names_the_same_function() {
        for (text, qualifier) in [
            ("hello", None),
            ("function:hello", None),
            ("123456789012:hello", None),
            ("123456789012:function:hello", None),
            ("us-east-1:123456789012:function:hello", None),
            ("arn:aws:lambda:us-east-1:123456789012:function:hello", None),
            ("hello:7", Some("7")),
            ("123456789012:function:hello:7", Some("7")),
            ("arn:aws:lambda:us-east-1:123456789012:function:hello:$LATEST", Some("$LATEST")),
            ("arn:aws:lambda:us-east-1:123456789012:function:hello:live", Some("live")),
        ] {
            let found = ask(text, None).unwrap();
            assert_eq!(found.id.name.as_str(), "hello", "{text}");
            assert_eq!(found.qualifier, qualifier.map(Qualifier::of), "{text}");
            assert_eq!(found.id.account.as_str(), "123456789012");
        }
        assert_eq!(ask("function", None).unwrap().id.name.as_str(), "function");
        assert_eq!(ask("123456789012", None).unwrap().id.name.as_str(), "123456789012");
        assert_eq!(ask("hello", Some("3")).unwrap().version(), Some(Version::Published(3)));
        assert_eq!(ask("hello:3", Some("3")).unwrap().version(), Some(Version::Published(3)));
    }

    #[test]
    fn what_is_not_a_reference_is_told_so_in_the_words_of_the_model() {
        for text in [
            "",
            "a b",
            "a:b:c",
            "arn:aws:s3:::x",
            "a/b",
            "ä",
            "hello:$OLD",
            "arn:aws:lambda:us-east-1:1:function:x:y:z:q",
        ] {
            let Err(Error::Constraints(text_given)) = ask(text, None) else { panic!("{text} was taken") };
            assert!(text_given.contains("at 'functionName' failed to satisfy constraint"), "{text_given}");
        }
        let Err(Error::InvalidParameter(conflict)) = ask("hello:1", Some("2")) else { panic!("taken") };
        assert_eq!(
            conflict,
            "The derived qualifier from the function name does not match the specified qualifier."
        );
        let Err(error) = ask("arn:aws:lambda:eu-west-1:123456789012:function:x", None) else {
            panic!("taken")
        };
        assert_eq!(
            error.to_string(),
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
        );
        assert!(matches!(ask("999999999999:function:x", None), Err(Error::OtherAccount { .. })));
        assert!(matches!(ask(&"x".repeat(65), None), Err(Error::NotFound(_))));
    }

    #[test]
    fn new_names_take_no_qualifier_and_64_characters() {
        with("", |asker| {
            assert!(new_function(asker, "123456789012:function:hello").is_ok());
            assert!(matches!(new_function(asker, "hello:1"), Err(Error::Constraints(_))));
            let Err(error) = new_function(asker, &"x".repeat(65)) else { panic!("taken") };
            assert!(
                matches!(&error, Error::InvalidParameter(text) if text.ends_with("less than or equal to 64"))
            );
        });
    }

    #[test]
    fn tags_belong_to_whole_functions() {
        with("", |asker| {
            let arn = "arn:aws:lambda:us-east-1:123456789012:function:hello";
            let Taggable::Function(id) = taggable(asker, arn).unwrap() else { panic!("{arn}") };
            assert_eq!(id.arn(), arn);
            let id = "2bac96f9-a36e-4017-a5a4-aa977086a2b6";
            let named = arn.replace("function:hello", &format!("event-source-mapping:{id}"));
            assert_eq!(taggable(asker, &named).unwrap(), Taggable::Mapping(id.parse().unwrap()));
            assert!(matches!(taggable(asker, &format!("{arn}:1")), Err(Error::InvalidParameter(_))));
            assert!(matches!(taggable(asker, "hello"), Err(Error::Constraints(_))));
            let layer = "arn:aws:lambda:us-east-1:123456789012:layer:x";
            assert!(matches!(taggable(asker, layer), Err(Error::NotFound(_))));
        });
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}", qualifier in proptest::option::of(".{0,140}")) {
            for form in [Form::Plain, Form::Namespaced] {
                with("", |asker| {
                    if let Ok(found) = target(asker, &text, qualifier.as_deref(), form) {
                        prop_assert!(text.contains(found.id.name.as_str()));
                    }
                    let _ = new_function(asker, &text);
                    let _ = taggable(asker, &text);
                    let _ = permission_arn(asker.account, asker.region, &text, None);
                    Ok(())
                })?;
            }
        }

        #[test]
        fn references_are_read_back_whole(
            arn in proptest::bool::ANY, region in proptest::option::of("[a-z]{2}(-gov|-iso|-isob)?-[a-z]{1,9}-[0-9]"),
            account in proptest::option::of("[0-9]{12}"), function in proptest::bool::ANY,
            name in "[a-zA-Z0-9_-]{1,64}", qualifier in proptest::option::of("(\\$LATEST|[a-zA-Z0-9_-]{1,20})"),
        ) {
            // Names that are themselves words of the grammar may be read as prefixes.
            prop_assume!(name != "function" && !is_account(&name) && !is_region(&name));
            let mut text = String::new();
            if arn { text += "arn:aws:lambda:"; }
            for part in [&region, &account].into_iter().flatten() { text += part; text.push(':'); }
            if function { text += "function:"; }
            text += &name;
            if let Some(qualifier) = &qualifier { text.push(':'); text += qualifier; }
            let read = Reference::parse(&text, Form::Plain);
            prop_assert_eq!(read, Some(Reference {
                region: region.as_deref(), account: account.as_deref(), name: &name, qualifier: qualifier.as_deref(),
            }));
        }
    }
}
