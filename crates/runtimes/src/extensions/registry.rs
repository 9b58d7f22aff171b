//! Which extensions there are and what each is about to do: pure.

use base::RequestId;
use bytes::Bytes;

/// Extensions of one environment, internal ones included. Source: Lambda quotas.
const EXTENSIONS_MAX: usize = 10;
/// Longest name. Neap's own bound; file names are no longer.
const NAME_MAX: usize = 255;

/// Events that an extension wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) invoke: bool,
    pub(crate) shutdown: bool,
}

impl Kinds {
    /// From a request's words.
    pub(crate) fn parse(words: &[String]) -> Result<Kinds, Refusal> {
        let mut kinds = Kinds::default();
        for word in words {
            match word.as_str() {
                "INVOKE" => kinds.invoke = true,
                "SHUTDOWN" => kinds.shutdown = true,
                _ => return Err(Refusal::EventType(word.chars().take(64).collect())),
            }
        }
        Ok(kinds)
    }

    fn words(self) -> Vec<&'static str> {
        [(self.invoke, "INVOKE"), (self.shutdown, "SHUTDOWN")]
            .into_iter()
            .filter_map(|(wanted, word)| wanted.then_some(word))
            .collect()
    }
}

/// Why a request of an extension is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not the JSON that is expected.
    #[error("the request is not a JSON object with a list of events")]
    Unreadable,
    /// No event.
    #[error("{0}: it is no event of extensions, or none of internal ones")]
    EventType(String),
    /// No name, or none that can be.
    #[error(
        "the extension's name {0:?} is not the name of a file in /opt/extensions, nor that of a part of the runtime"
    )]
    Name(String),
    /// Too many.
    #[error("there are {max} extensions already", max = EXTENSIONS_MAX)]
    TooMany,
    /// Too late.
    #[error("extensions register before the runtime takes its first event")]
    Closed,
    /// Not now.
    #[error("the extension is {0} and cannot do this now")]
    State(&'static str),
    /// The header is missing.
    #[error("the header Lambda-Extension-Identifier is missing")]
    NoIdentifier,
    /// The header is not a UUID.
    #[error("the header Lambda-Extension-Identifier is not an identifier")]
    NotAnIdentifier,
    /// Nobody's.
    #[error("no extension has this identifier")]
    Unknown,
    /// The header is missing.
    #[error("the header Lambda-Extension-Function-Error-Type is missing")]
    NoErrorType,
}

impl Refusal {
    /// `errorType`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Refusal::Unreadable => "InvalidRequestFormat",
            Refusal::EventType(_) => "Extension.InvalidEventType",
            Refusal::Name(_) => "Extension.InvalidExtensionName",
            Refusal::TooMany => "Extension.TooManyExtensions",
            Refusal::Closed => "Extension.RegistrationClosed",
            Refusal::State(_) => "Extension.InvalidExtensionState",
            Refusal::NoIdentifier => "Extension.MissingExtensionIdentifier",
            Refusal::NotAnIdentifier => "Extension.InvalidExtensionIdentifier",
            Refusal::Unknown => "Extension.UnknownExtensionIdentifier",
            Refusal::NoErrorType => "Extension.MissingHeader",
        }
    }
}

/// Life of an extension. `Launched → Registered → Idle ⇄ Busy`; any → `Failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Its program was started.
    Launched,
    /// It has an identifier.
    Registered,
    /// It has asked for its next event.
    Idle,
    /// It has an event.
    Busy,
    /// It said so, or ended.
    Failed,
}

impl At {
    fn word(self) -> &'static str {
        match self {
            At::Launched => "Started",
            At::Registered => "Registered",
            At::Idle => "Ready",
            At::Busy => "Running",
            At::Failed => "Failed",
        }
    }
}

#[derive(Debug)]
struct Extension {
    name: String,
    /// Started by us, in the order of the list; else a part of the runtime.
    external: bool,
    id: Option<RequestId>,
    kinds: Kinds,
    at: At,
    /// Waits to be taken.
    event: Option<Bytes>,
    /// `errorType` that it gave.
    error: Option<String>,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// The programs that were started.
    External,
    /// Parts of the runtime too.
    Everyone,
    /// Nobody.
    Closed,
}

/// The extensions of one process.
#[derive(Debug)]
pub(crate) struct Registry {
    all: Vec<Extension>,
    door: Door,
    /// The first failure that was reported: its kind, and the reason given.
    failure: Option<(&'static str, String)>,
}

/// An extension, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) events: Vec<&'static str>,
    pub(crate) error: Option<String>,
}

impl Registry {
    pub(crate) fn new(external: &[String]) -> Registry {
        let launched = |name: &String| Extension {
            name: name.clone(),
            external: true,
            id: None,
            kinds: Kinds::default(),
            at: At::Launched,
            event: None,
            error: None,
        };
        Registry { all: external.iter().map(launched).collect(), door: Door::External, failure: None }
    }

    pub(crate) fn begin(&mut self) {
        self.door = Door::Everyone;
    }

    pub(crate) fn close(&mut self) {
        self.door = Door::Closed;
    }

    pub(crate) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    pub(crate) fn any_external(&self) -> bool {
        self.all.iter().any(|one| one.external)
    }

    pub(crate) fn all_registered(&self) -> bool {
        self.all.iter().all(|one| one.at != At::Launched)
    }

    /// Whether nobody has anything to do: an event that was offered is something.
    pub(crate) fn all_idle(&self) -> bool {
        self.all.iter().all(|one| one.at == At::Idle && one.event.is_none())
    }

    pub(crate) fn failure(&self) -> Option<(&'static str, String)> {
        self.failure.clone()
    }

    /// Takes a newcomer in, or a program that was started.
    pub(crate) fn register(&mut self, name: &str, kinds: Kinds, id: RequestId) -> Result<(), Refusal> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Refusal::Name(name.chars().take(64).collect()));
        }
        if let Some(known) = self.all.iter_mut().find(|one| one.name == name) {
            if known.at != At::Launched {
                return Err(Refusal::State(known.at.word()));
            }
            (known.id, known.kinds, known.at) = (Some(id), kinds, At::Registered);
            return Ok(());
        }
        match self.door {
            Door::Closed => return Err(Refusal::Closed),
            // Nothing of the runtime runs yet: it is a program that does not know its own file name.
            Door::External => return Err(Refusal::Name(name.to_owned())),
            Door::Everyone => {}
        }
        if kinds.shutdown {
            return Err(Refusal::EventType("SHUTDOWN".to_owned()));
        }
        if self.all.len() >= EXTENSIONS_MAX {
            return Err(Refusal::TooMany);
        }
        self.all.push(Extension {
            name: name.to_owned(),
            external: false,
            id: Some(id),
            kinds,
            at: At::Registered,
            event: None,
            error: None,
        });
        Ok(())
    }

    fn find(&mut self, id: RequestId) -> Result<&mut Extension, Refusal> {
        self.all.iter_mut().find(|one| one.id == Some(id)).ok_or(Refusal::Unknown)
    }

    /// Numbers of the programs that want such events and have not failed.
    pub(crate) fn external(&self, wanted: impl Fn(Kinds) -> bool) -> Vec<usize> {
        let programs = self.all.iter().filter(|one| one.external).enumerate();
        programs
            .filter(|(_, one)| wanted(one.kinds) && one.at != At::Failed)
            .map(|(index, _)| index)
            .collect()
    }

    pub(crate) fn closed(&self) -> bool {
        self.door == Door::Closed
    }

    pub(crate) fn name_of(&mut self, id: RequestId) -> Result<String, Refusal> {
        self.find(id).map(|one| one.name.clone())
    }

    /// It asks for its next event: what it had is done.
    pub(crate) fn ask(&mut self, id: RequestId) -> Result<(), Refusal> {
        let one = self.find(id)?;
        match one.at {
            At::Failed | At::Launched => Err(Refusal::State(one.at.word())),
            At::Registered | At::Idle | At::Busy => {
                one.at = At::Idle;
                Ok(())
            }
        }
    }

    /// The event that waits for it, if one does.
    pub(crate) fn take(&mut self, id: RequestId) -> Result<Option<Bytes>, Refusal> {
        let one = self.find(id)?;
        let event = one.event.take();
        if event.is_some() {
            one.at = At::Busy;
        }
        Ok(event)
    }

    /// Offers an event to those that want it. It takes the place of one that was not taken.
    pub(crate) fn offer(&mut self, event: &Bytes, wanted: impl Fn(Kinds) -> bool) {
        for one in self.all.iter_mut().filter(|one| wanted(one.kinds) && one.at != At::Failed) {
            one.event = Some(event.clone());
        }
    }

    /// It has failed, as it says itself.
    pub(crate) fn fail(&mut self, id: RequestId, kind: &'static str, reason: String) -> Result<(), Refusal> {
        let one = self.find(id)?;
        // After its first `next` it is initialised.
        let late = kind == "Extension.InitError" && one.at != At::Registered;
        if one.at == At::Failed || late {
            return Err(Refusal::State(one.at.word()));
        }
        (one.at, one.error) = (At::Failed, Some(reason.clone()));
        self.failure.get_or_insert((kind, reason));
        Ok(())
    }

    /// The n-th program has ended.
    pub(crate) fn lost(&mut self, index: usize) {
        if let Some(one) = self.all.iter_mut().filter(|one| one.external).nth(index) {
            one.at = At::Failed;
            one.error.get_or_insert_with(|| "Extension.Crash".to_owned());
        }
    }

    pub(crate) fn described(&self) -> Vec<Described> {
        let described = |one: &Extension| Described {
            name: one.name.clone(),
            state: one.at.word(),
            events: one.kinds.words(),
            error: one.error.clone(),
        };
        self.all.iter().map(described).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: Kinds = Kinds { invoke: true, shutdown: true };
    const INVOKE: Kinds = Kinds { invoke: true, shutdown: false };

    fn id(number: u8) -> RequestId {
        RequestId::from_random([number; 16])
    }

    #[test]
    fn programs_register_under_their_file_names_and_parts_of_the_runtime_under_others() {
        let mut registry = Registry::new(&["a".to_owned(), "b".to_owned()]);
        assert!(!registry.all_registered());
        assert_eq!(registry.register("c", INVOKE, id(9)), Err(Refusal::Name("c".to_owned())));
        assert_eq!(registry.register("a", BOTH, id(1)), Ok(()));
        assert_eq!(registry.register("a", BOTH, id(2)), Err(Refusal::State("Registered")));
        assert!(!registry.all_registered());
        assert_eq!(registry.register("b", Kinds::default(), id(2)), Ok(()));
        assert!(registry.all_registered());
        registry.begin();
        assert_eq!(registry.register("", INVOKE, id(3)), Err(Refusal::Name(String::new())));
        assert_eq!(registry.register("c", BOTH, id(3)), Err(Refusal::EventType("SHUTDOWN".to_owned())));
        for number in 3..=10 {
            assert_eq!(registry.register(&format!("i{number}"), INVOKE, id(number)), Ok(()));
        }
        assert_eq!(registry.register("more", INVOKE, id(11)), Err(Refusal::TooMany));
        registry.close();
        assert_eq!(registry.register("late", INVOKE, id(12)), Err(Refusal::Closed));
    }

    #[test]
    fn an_event_is_done_when_its_taker_asks_again() {
        let mut registry = Registry::new(&["a".to_owned(), "b".to_owned()]);
        registry.register("a", BOTH, id(1)).unwrap();
        registry.register("b", Kinds { invoke: false, shutdown: true }, id(2)).unwrap();
        assert!(!registry.all_idle());
        registry.ask(id(1)).unwrap();
        registry.ask(id(2)).unwrap();
        assert!(registry.all_idle());
        let event = Bytes::from_static(b"{}");
        registry.offer(&event, |kinds| kinds.invoke);
        assert_eq!(registry.external(|kinds| kinds.shutdown), [0, 1]);
        assert!(!registry.all_idle(), "it waits to be taken");
        assert_eq!(registry.take(id(2)), Ok(None));
        assert_eq!(registry.take(id(1)), Ok(Some(event)));
        assert_eq!(registry.take(id(1)), Ok(None));
        assert!(!registry.all_idle());
        registry.ask(id(1)).unwrap();
        assert!(registry.all_idle());
        assert_eq!(registry.ask(id(7)), Err(Refusal::Unknown));
    }

    #[test]
    fn the_first_failure_counts() {
        let mut registry = Registry::new(&["a".to_owned(), "b".to_owned()]);
        registry.register("a", BOTH, id(1)).unwrap();
        registry.register("b", BOTH, id(2)).unwrap();
        registry.ask(id(1)).unwrap();
        assert!(registry.fail(id(1), "Extension.InitError", "x".into()).is_err(), "it is initialised");
        registry.fail(id(2), "Extension.InitError", "first".into()).unwrap();
        registry.fail(id(1), "Extension.ExitError", "second".into()).unwrap();
        assert!(registry.fail(id(1), "Extension.ExitError", "again".into()).is_err());
        assert!(registry.ask(id(1)).is_err());
        assert_eq!(registry.failure(), Some(("Extension.InitError", "first".to_owned())));
        assert!(registry.external(|kinds| kinds.invoke).is_empty());
    }

    proptest! {
        /// Whatever is called in whatever order, no event is taken twice and nobody is idle who has one.
        #[test]
        fn events_are_taken_once(steps in proptest::collection::vec((0u8..6, 1u8..4), 0..60)) {
            let mut registry = Registry::new(&["n1".to_owned(), "n2".to_owned()]);
            let (mut offered, mut taken) = (0u32, 0u32);
            for (step, who) in steps {
                match step {
                    0 => { let _ = registry.register(&format!("n{who}"), INVOKE, id(who)); }
                    1 => { let _ = registry.ask(id(who)); }
                    2 => if let Ok(Some(_)) = registry.take(id(who)) { taken += 1; },
                    3 => {
                        offered += registry.all.iter().filter(|one| one.kinds.invoke && one.at != At::Failed).count() as u32;
                        registry.offer(&Bytes::from_static(b"e"), |kinds| kinds.invoke);
                    }
                    4 => registry.begin(),
                    _ => { let _ = registry.fail(id(who), "Extension.ExitError", "x".into()); }
                }
                prop_assert!(taken <= offered);
                prop_assert!(registry.all.len() <= EXTENSIONS_MAX);
                if registry.all_idle() {
                    prop_assert!(registry.all.iter().all(|one| one.event.is_none()));
                }
            }
        }
    }
}
