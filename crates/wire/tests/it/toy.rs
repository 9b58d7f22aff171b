//! Toy services and ports.

use base::{
    AccountId, Authorize, Clock, Credential, CredentialError, Credentials, Denied, Entropy, Fault, Principal,
    ServiceError, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;
use wire::{Body, Context, Gateway, Ports, RawRequest, RawResponse, Reply, Settings, Violations};

pub const KEY: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const ACCOUNT: &str = "123456789012";
/// 2026-11-21T10:00:00Z.
pub const NOW: Timestamp = Timestamp(1_795_255_200_000);

/// REST-JSON.
#[derive(Default)]
pub struct Things {
    /// [`Things::wait`] says that it has begun, then waits for the second.
    pub begun: Notify,
    pub proceed: Notify,
    /// Waits that came to their end.
    pub waited: AtomicU64,
    /// Says that a wait ended, either way.
    pub ended: Notify,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Thing not found: {0}")]
    NotFound(String),
    #[error("Rate Exceeded.")]
    Throttled,
    #[error("the function <failed> & \"broke\"")]
    Broken,
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::NotFound(_) => "ResourceNotFoundException",
            Error::Throttled => "TooManyRequestsException",
            Error::Broken => "ServiceException",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Error::NotFound(_) => Fault::NotFound,
            Error::Throttled => Fault::Throttled,
            Error::Broken => Fault::Us,
        }
    }
    fn members(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::Throttled => vec![("Reason", "CallerRateLimitExceeded".into())],
            Error::NotFound(_) | Error::Broken => Vec::new(),
        }
    }
}

#[derive(Deserialize, Serialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub struct PutThing {
    pub name: String,
    pub size: u32,
    pub memo: Option<String>,
    #[serde(default)]
    pub tag_keys: Vec<String>,
    pub dry: Option<bool>,
    pub revision: Option<i64>,
    pub nested: Option<BTreeMap<String, String>>,
}

impl PutThing {
    fn check(&self, found: &mut Violations) {
        found.length("name", &self.name, 1..=64);
        found.range("size", self.size, 1..=900);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Named {
    pub name: String,
}

wire::api! {
    /// Keeps things.
    impl Things;
    name: "things";
    protocol: rest_json;
    message_capital: [ResourceNotFoundException];
    operations {
        /// Says everything back.
        PutThing => put(PutThing) -> Reply<PutThing> {
            http: PUT "/2025-01-01/things/{Name}" 201,
            query: ["tagKeys" => TagKeys, "Dry" => Dry],
            headers: ["x-amz-revision" => Revision],
            check: PutThing::check,
            allow: "things:PutThing" on thing_arn,
            errors: [TooManyRequestsException],
        }
        GetThing => get(Named) -> () {
            http: GET "/2025-01-01/things/{Name}" 200,
            allow: "things:GetThing" on "*",
            errors: [ResourceNotFoundException, TooManyRequestsException, ServiceException],
        }
        ListThings => list(RawRequest) -> Vec<String> {
            http: GET "/2025-01-01/things/" 200,
            allow: everyone,
            errors: [],
        }
        ForgetThing => forget(Named) -> () {
            http: DELETE "/2025-01-01/things/{Name}/memory" 204,
            allow: "things:ForgetThing" on "*",
            errors: [],
        }
        Run => run(RawRequest) -> RawResponse {
            http: POST "/2025-01-01/things/{Name}/runs" 200,
            body_max: 1000,
            allow: "things:Run" on "*",
            errors: [],
        }
        Upload => upload(RawRequest) -> RawResponse {
            http: POST "/2025-01-01/uploads" 200,
            body_max: 8 * 1024 * 1024,
            too_large: UploadTooLargeException of "UploadThing",
            allow: everyone,
            errors: [],
        }
        Stream => stream(RawRequest) -> RawResponse {
            http: GET "/2025-01-01/stream" 200,
            allow: everyone,
            errors: [],
        }
        Wait => wait(RawRequest) -> RawResponse {
            http: GET "/2025-01-01/wait" 200,
            allow: everyone,
            errors: [],
        }
        WaitInVain => wait(RawRequest) -> RawResponse {
            http: GET "/2025-01-01/wait-in-vain" 200,
            abandon: true,
            allow: everyone,
            errors: [],
        }
        Panic => panics(RawRequest) -> () {
            http: GET "/2025-01-01/panic" 200,
            allow: everyone,
            errors: [],
        }
        Any => any(RawRequest) -> String {
            http: GET "/v/{Path+}" 200,
            allow: everyone,
            errors: [],
        }
        AnyPost => any(RawRequest) -> String {
            http: POST "/v/{Path+}" 200,
            allow: everyone,
            errors: [],
        }
        Root => any(RawRequest) -> String {
            http: GET "/" 200,
            allow: everyone,
            errors: [],
        }
    }
    missing: [RenameThing: POST "/2025-01-01/things/{Name}/name"];
}

impl Things {
    fn thing_arn(&self, context: &Context, input: &PutThing) -> String {
        context.arn("things", &format!("thing:{}", input.name))
    }

    async fn put(&self, context: &Context, input: PutThing) -> Result<Reply<PutThing>, Error> {
        let who = context.principal.arn();
        Ok(Reply::new(input).header("x-who", who).header("x-region", context.region.as_str()))
    }

    async fn get(&self, _: &Context, input: Named) -> Result<(), Error> {
        match input.name.as_str() {
            "throttled" => Err(Error::Throttled),
            "broken" => Err(Error::Broken),
            "there" => Ok(()),
            _ => Err(Error::NotFound(input.name)),
        }
    }

    async fn list(&self, context: &Context, _: RawRequest) -> Result<Vec<String>, Error> {
        Ok(vec![context.account.to_string(), context.region.to_string(), context.authority.to_string()])
    }

    async fn forget(&self, _: &Context, _: Named) -> Result<(), Error> {
        Ok(())
    }

    async fn run(&self, _: &Context, request: RawRequest) -> Result<RawResponse, Error> {
        let name = request.label("Name").unwrap_or_default().to_owned();
        Ok(RawResponse::new(http::StatusCode::OK, request.body).header("x-name", name))
    }

    async fn upload(&self, _: &Context, request: RawRequest) -> Result<RawResponse, Error> {
        Ok(RawResponse::text(http::StatusCode::OK, request.body.len().to_string()))
    }

    async fn stream(&self, _: &Context, _: RawRequest) -> Result<RawResponse, Error> {
        let pieces = ["one", "two", "three"].map(|piece| Ok(bytes::Bytes::from(piece)));
        Ok(RawResponse::new(http::StatusCode::OK, Body::stream(futures_util::stream::iter(pieces))))
    }

    async fn wait(&self, _: &Context, _: RawRequest) -> Result<RawResponse, Error> {
        struct Ended<'a>(&'a Notify);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let _ended = Ended(&self.ended);
        self.begun.notify_one();
        self.proceed.notified().await;
        self.waited.fetch_add(1, Ordering::Relaxed);
        Ok(RawResponse::text(http::StatusCode::OK, "waited"))
    }

    async fn panics(&self, _: &Context, _: RawRequest) -> Result<(), Error> {
        panic!("as asked")
    }

    async fn any(&self, _: &Context, request: RawRequest) -> Result<String, Error> {
        Ok(request.label("Path").unwrap_or("/").to_owned())
    }
}

/// JSON 1.1, and JSON 1.0 with a namespace.
pub struct Notes;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    pub group_name: String,
    #[serde(default)]
    pub lines: Vec<String>,
    pub limit: Option<u32>,
}

wire::api! {
    /// Keeps notes.
    impl Notes;
    name: "notes";
    protocol: json11("Notes_20250101"), json10("Old.Notes", "com.amazonaws.notes");
    invalid: "InvalidParameterException";
    operations {
        PutNote => put(Note) -> Note {
            allow: "notes:PutNote" on "*",
            errors: [],
        }
        DropNote => drop_note(Note) -> () {
            allow: "notes:DropNote" on "*",
            errors: [ResourceNotFoundException],
        }
    }
    missing: [TailNote];
}

impl Notes {
    async fn put(&self, _: &Context, input: Note) -> Result<Note, Error> {
        Ok(input)
    }

    async fn drop_note(&self, _: &Context, input: Note) -> Result<(), Error> {
        if input.group_name == "there" { Ok(()) } else { Err(Error::NotFound(input.group_name)) }
    }
}

/// Query.
pub struct Tokens;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumeRole {
    pub role_arn: String,
    pub duration_seconds: Option<u32>,
    #[serde(default)]
    pub policy_arns: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Assumed {
    pub arn: String,
    pub account: String,
    pub seconds: Option<u32>,
    pub policies: Vec<String>,
}

wire::api! {
    /// Gives tokens.
    impl Tokens;
    name: "sts";
    protocol: query("2011-06-15", "https://sts.amazonaws.com/doc/2011-06-15/");
    invalid: "ValidationError";
    operations {
        GetCallerIdentity => who(RawRequest) -> Assumed {
            allow: everyone,
            errors: [],
        }
        AssumeRole => assume(AssumeRole) -> Assumed {
            allow: "sts:AssumeRole" on "*",
            errors: [],
        }
        Fail => fail(RawRequest) -> () {
            allow: everyone,
            errors: [ServiceException],
        }
        Nothing => nothing(RawRequest) -> () {
            allow: everyone,
            errors: [],
        }
    }
    missing: [GetFederationToken];
}

impl Tokens {
    async fn who(&self, context: &Context, _: RawRequest) -> Result<Assumed, Error> {
        let (arn, account) = (context.principal.arn(), context.account.to_string());
        Ok(Assumed { arn, account, seconds: None, policies: Vec::new() })
    }

    async fn assume(&self, context: &Context, input: AssumeRole) -> Result<Assumed, Error> {
        let account = context.account.to_string();
        let (seconds, policies) = (input.duration_seconds, input.policy_arns);
        Ok(Assumed { arn: input.role_arn, account, seconds, policies })
    }

    async fn fail(&self, _: &Context, _: RawRequest) -> Result<(), Error> {
        Err(Error::Broken)
    }

    async fn nothing(&self, _: &Context, _: RawRequest) -> Result<(), Error> {
        Ok(())
    }
}

/// A place for vectors of S3's way of signing.
pub struct Objects;

wire::api! {
    /// Objects.
    impl Objects;
    name: "s3";
    protocol: rest_json;
    operations {
        GetObject => any(RawRequest) -> String {
            http: GET "/{Key+}" 200,
            allow: everyone,
            errors: [],
        }
        PutObject => any(RawRequest) -> String {
            http: PUT "/{Key+}" 200,
            allow: everyone,
            errors: [],
        }
    }
}

impl Objects {
    async fn any(&self, _: &Context, _: RawRequest) -> Result<String, Error> {
        Ok(String::new())
    }
}

/// A clock that tests turn.
pub struct Hand(pub AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Counts.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Entropy for Count {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        let count = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        buffer.iter_mut().zip(count).for_each(|(to, from)| *to = from);
    }
}

pub struct Keys;

impl Credentials for Keys {
    fn lookup(&self, key: &str, token: Option<&str>, _: Timestamp) -> Result<Credential, CredentialError> {
        let root = |account: AccountId, secret: Option<&str>| {
            Ok(Credential { secret: secret.map(Into::into), principal: Principal::Root { account } })
        };
        match (key, token) {
            (KEY, _) => root(ACCOUNT.parse().unwrap(), Some(SECRET)),
            ("ASIASESSION", Some("to/ken+==")) => Ok(Credential {
                secret: Some(SECRET.into()),
                principal: Principal::Session {
                    account: ACCOUNT.parse().unwrap(),
                    role: "limited".into(),
                    session: "s".into(),
                },
            }),
            ("ASIAEXPIRED", _) => Err(CredentialError::Expired),
            (digits, _) => root(digits.parse().map_err(|_| CredentialError::Unknown)?, None),
        }
    }
}

/// Sessions may do nothing.
pub struct Rules;

impl Authorize for Rules {
    fn authorize(&self, who: &Principal, action: &str, resource: &str) -> Result<(), Denied> {
        match who {
            Principal::Root { .. } => Ok(()),
            Principal::Session { .. } => Err(Denied {
                who: who.arn(),
                action: action.into(),
                resource: resource.into(),
                reason: "no identity-based policy allows it",
            }),
        }
    }
}

pub struct Toy {
    pub gateway: Arc<Gateway>,
    pub things: Arc<Things>,
    pub clock: Arc<Hand>,
}

pub fn toy(verify: bool) -> Toy {
    let (things, clock) = (Arc::new(Things::default()), Arc::new(Hand(AtomicI64::new(NOW.0))));
    let ports = Ports {
        credentials: Arc::new(Keys),
        authorize: Arc::new(Rules),
        clock: clock.clone(),
        entropy: Arc::new(Count::default()),
    };
    let settings = Settings::new(verify, "us-east-1".parse().unwrap());
    let gateway = Gateway::new(ports, settings)
        .service(things.clone())
        .service(Arc::new(Notes))
        .service(Arc::new(Tokens))
        .service(Arc::new(Objects))
        .mount_host("lambda-url", 1000, |request: RawRequest| async move {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let id = request.host.resource.unwrap_or_default();
            RawResponse::text(
                http::StatusCode::OK,
                format!("{id} {} {} {body}", request.method, request.uri.path()),
            )
        })
        .mount("/_neap/health", |_: RawRequest| async {
            RawResponse::json(http::StatusCode::OK, &serde_json::json!({ "status": "running" }))
        })
        .mount("/_neap/", |request: RawRequest| async move {
            RawResponse::text(http::StatusCode::NOT_FOUND, request.uri.path())
        });
    Toy { gateway: Arc::new(gateway), things, clock }
}
