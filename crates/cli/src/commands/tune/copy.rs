//! The temporary copy of a function.

use crate::{
    client::{
        Client,
        functions::{Configuration, Function},
    },
    error::Error,
};
use base::MemoryMib;
use base64::Engine;
use serde_json::{Map, Value, json};

/// Characters of a function name that the copy's name keeps: with the rest it has at most 64.
const NAME_KEPT: usize = 40;
/// What makes a function run as it does; its triggers, permissions, concurrency and log group stay its own.
const TAKEN: [&str; 7] =
    ["Runtime", "Handler", "Role", "Timeout", "Environment", "Architectures", "EphemeralStorage"];

/// A copy that exists until it is removed.
#[derive(Debug)]
pub(super) struct Copy {
    /// Name of the function copied.
    pub(super) original: String,
    /// Its own name.
    pub(super) name: String,
    /// Whether it is an `arm64` function.
    pub(super) arm: bool,
}

impl Copy {
    /// Copies the function's code and settings; the copy is ready then.
    pub(super) async fn make(client: &Client, function: &str, memory: MemoryMib) -> Result<Copy, Error> {
        let whole = client.whole_function(function).await?;
        let unreadable =
            |reason: &str| Error::Answer { operation: "GetFunction".to_owned(), reason: reason.to_owned() };
        let configuration = whole.get("Configuration").and_then(Value::as_object);
        let configuration = configuration.ok_or_else(|| unreadable("it has no configuration"))?;
        let text = |name: &str| configuration.get(name).and_then(Value::as_str);
        let original = text("FunctionName").ok_or_else(|| unreadable("it has no name"))?.to_owned();
        let link = whole.pointer("/Code/Location").and_then(Value::as_str);
        let package = client.fetch(link.ok_or_else(|| unreadable("it has no package"))?).await?;
        let name = copy_name(&original, jiff::Timestamp::now().as_microsecond());
        let input = request(&name, configuration, &package, memory);
        let arm = configuration.get("Architectures") == Some(&json!(["arm64"]));
        let copy = Copy { original, name, arm };
        let created = match client.create_from(&input).await {
            Ok(created) => client.ready(created).await,
            Err(error) => Err(error),
        };
        match created {
            Ok(_) => Ok(copy),
            Err(error) => {
                copy.remove(client).await?;
                Err(error)
            }
        }
    }

    /// Gives it another memory size.
    pub(super) async fn resize(&self, client: &Client, memory: MemoryMib) -> Result<Function, Error> {
        let wanted = Configuration { memory_size: Some(memory.0), ..Configuration::default() };
        let changed = client.update_configuration(&self.name, &wanted).await?;
        client.ready(changed).await
    }

    /// Removes it and its logs; that it is not there is not an error.
    pub(super) async fn remove(&self, client: &Client) -> Result<(), Error> {
        match client.delete_function(&self.name).await {
            Err(error) if !error.is_not_found() => return Err(error),
            Ok(()) | Err(_) => {}
        }
        client.delete_log_group(&format!("/aws/lambda/{}", self.name)).await
    }
}

fn copy_name(original: &str, micros: i64) -> String {
    let kept: String = original.chars().take(NAME_KEPT).collect();
    format!("{kept}-tune-{micros:x}")
}

/// The request that creates the copy.
fn request(name: &str, configuration: &Map<String, Value>, package: &[u8], memory: MemoryMib) -> Value {
    let mut input: Map<String, Value> = TAKEN
        .iter()
        .filter_map(|member| Some(((*member).to_owned(), configuration.get(*member)?.clone())))
        .filter(|(_, value)| !value.is_null())
        .collect();
    let layers = configuration.get("Layers").and_then(Value::as_array);
    let layers: Vec<&Value> = layers.into_iter().flatten().filter_map(|layer| layer.get("Arn")).collect();
    if !layers.is_empty() {
        input.insert("Layers".to_owned(), json!(layers));
    }
    let zip = base64::engine::general_purpose::STANDARD.encode(package);
    input.insert("FunctionName".to_owned(), json!(name));
    input.insert("Description".to_owned(), json!("temporary copy made by neap tune"));
    input.insert("MemorySize".to_owned(), json!(memory.0));
    input.insert("Code".to_owned(), json!({ "ZipFile": zip }));
    Value::Object(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_copy_is_never_too_long() {
        let name = copy_name(&"n".repeat(64), i64::MAX);
        assert!(name.parse::<base::FunctionName>().is_ok() && name.len() <= 64, "{name}");
        assert!(copy_name("hello", 255).starts_with("hello-tune-ff"));
    }

    #[test]
    fn a_copy_has_what_makes_the_function_run() {
        let configuration = json!({
            "FunctionName": "f", "Runtime": "python3.12", "Handler": "a.b", "Role": "r", "Timeout": 9, "MemorySize": 128,
            "Environment": {"Variables": {"A": "b"}}, "LoggingConfig": {"LogGroup": "/aws/lambda/f"},
            "Layers": [{"Arn": "arn:l:1", "CodeSize": 3}], "EphemeralStorage": null,
        });
        let input = request("f-tune-1", configuration.as_object().unwrap(), b"zip", MemoryMib(512));
        assert_eq!(
            input,
            json!({
                "FunctionName": "f-tune-1", "Runtime": "python3.12", "Handler": "a.b", "Role": "r", "Timeout": 9,
                "MemorySize": 512, "Environment": {"Variables": {"A": "b"}}, "Layers": ["arn:l:1"],
                "Description": "temporary copy made by neap tune", "Code": {"ZipFile": "emlw"},
            })
        );
    }
}
