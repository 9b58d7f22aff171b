//! Creating, reading, changing and deleting functions.

use crate::support::{ROLE, World, hash, zip};
use serde_json::{Value, json};

#[tokio::test]
async fn a_function_is_created_with_lambdas_defaults() {
    let world = World::new();
    let reply = world
        .create_with(
            "hello",
            json!({ "Tags": { "team": "a" }, "Environment": { "Variables": { "KEY": "v" } } }),
        )
        .await;
    assert_eq!(reply.status, 201);
    let made = reply.ok();
    assert_eq!(made["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:hello");
    assert_eq!(made["CodeSize"], 3);
    assert_eq!(made["CodeSha256"], zip_hash("one"));
    assert_eq!((made["Timeout"].as_i64(), made["MemorySize"].as_i64()), (Some(3), Some(128)));
    assert_eq!(made["Version"], "$LATEST");
    assert_eq!(made["LastModified"], "2025-11-21T10:31:00.000+0000");
    assert_eq!(made["State"], "Active");
    assert_eq!(made["PackageType"], "Zip");
    assert_eq!(made["Architectures"], json!(["x86_64"]));
    assert_eq!(made["EphemeralStorage"], json!({ "Size": 512 }));
    assert_eq!(made["LoggingConfig"], json!({ "LogFormat": "Text", "LogGroup": "/aws/lambda/hello" }));
    assert_eq!(made["SnapStart"], json!({ "ApplyOn": "None", "OptimizationStatus": "Off" }));
    assert_eq!(made["TracingConfig"], json!({ "Mode": "PassThrough" }));
    assert_eq!(made["Environment"], json!({ "Variables": { "KEY": "v" } }));
    assert!(made.get("LastUpdateStatus").is_none());

    let got = world.get("hello").await.ok();
    assert_eq!(got["Configuration"]["LastUpdateStatus"], "Successful");
    assert_eq!(got["Configuration"]["RevisionId"], made["RevisionId"]);
    assert_eq!(got["Tags"], json!({ "team": "a" }));
    assert!(got.get("Concurrency").is_none());
    world.create("hello").await.refused(409, "ResourceConflictException", "Function already exist: hello");
}

fn zip_hash(content: &str) -> String {
    zip_bytes(&hash(content).0)
}

fn zip_bytes(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn every_form_of_name_reaches_the_function() {
    let world = World::new();
    world.create("000000000000:function:hello").await.ok();
    for name in [
        "hello",
        "function:hello",
        "000000000000:function:hello",
        "000000000000%3Afunction%3Ahello",
        "arn:aws:lambda:us-east-1:000000000000:function:hello",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello",
        "hello:$LATEST",
        "hello%3A%24LATEST",
        "hello?Qualifier=$LATEST",
        "hello?Qualifier=%24LATEST",
    ] {
        let name = match name.split_once('?') {
            Some((name, query)) => format!("{name}/configuration?{query}"),
            None => format!("{name}/configuration"),
        };
        let got = world.call("GET", &format!("/2015-03-31/functions/{name}"), Value::Null).await.ok();
        assert_eq!(got["FunctionName"], "hello", "{name}");
    }
    let (missing, arn) =
        (world.get("nobody:7").await, "arn:aws:lambda:us-east-1:000000000000:function:nobody:7");
    missing.refused(404, "ResourceNotFoundException", &format!("Function not found: {arn}"));
    world.get("hello:live").await.refused(
        404,
        "ResourceNotFoundException",
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:hello:live",
    );
    world.get("hello:1?Qualifier=2").await.refused(
        400,
        "InvalidParameterValueException",
        "The derived qualifier from the function name does not match the specified qualifier.",
    );
    let (status, code, _) = world.get("arn:aws:lambda:us-east-1:111111111111:function:hello").await.error();
    assert_eq!((status, code.as_str()), (403, "AccessDeniedException"));
    let (status, code, _) = world.get("arn:aws:lambda:eu-west-1:000000000000:function:hello").await.error();
    assert_eq!((status, code.as_str()), (404, "ResourceNotFoundException"));
    let (status, code, _) = world.get("a%20b").await.error();
    assert_eq!((status, code.as_str()), (400, "ValidationException"));
}

#[tokio::test]
async fn bad_requests_get_lambdas_texts() {
    let world = World::new();
    let refused = async |more: Value| world.create_with("hello", more).await.error();
    let (status, code, text) = refused(json!({ "MemorySize": 64 })).await;
    assert_eq!((status, code.as_str()), (400, "ValidationException"));
    assert_eq!(
        text,
        "1 validation error detected: Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"
    );
    for (more, code, begins) in [
        (
            json!({ "Runtime": "cobol" }),
            "InvalidParameterValueException",
            "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [",
        ),
        (
            json!({ "Code": {} }),
            "InvalidParameterValueException",
            "Please provide a source for function code.",
        ),
        (
            json!({ "Code": { "ZipFile": "" } }),
            "InvalidParameterValueException",
            "Uploaded file must be a non-empty zip",
        ),
        (
            json!({ "Code": { "ZipFile": zip("bad") } }),
            "InvalidParameterValueException",
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        (json!({ "Code": { "ZipFile": "%%" } }), "SerializationException", ""),
        (
            json!({ "Code": { "S3Bucket": "b", "S3Key": "k" } }),
            "InvalidParameterValueException",
            "S3Bucket is not supported by Neap",
        ),
        (
            json!({ "Code": { "ImageUri": "x" }, "PackageType": "Image" }),
            "InvalidParameterValueException",
            "PackageType Image is not supported by Neap",
        ),
        (
            json!({ "Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"] }),
            "InvalidParameterValueException",
            "Layer version arn:aws:lambda:us-east-1:000000000000:layer:x:1 does not exist.",
        ),
        (
            json!({ "Environment": { "Variables": { "AWS_REGION": "x" } } }),
            "InvalidParameterValueException",
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys",
        ),
        (
            json!({ "Role": "arn:aws:iam::111111111111:role/x" }),
            "AccessDeniedException",
            "Cross-account pass role is not allowed.",
        ),
        (
            json!({ "Role": null }),
            "ValidationException",
            "1 validation error detected: Value null at 'role' failed to satisfy constraint: Member must not be null",
        ),
        (json!({ "Timeout": "soon" }), "SerializationException", ""),
        (
            json!({ "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] } }),
            "InvalidParameterValueException",
            "VpcConfig is not supported by Neap",
        ),
    ] {
        let (_, got, text) = refused(more).await;
        assert_eq!(got, code, "{text}");
        assert!(text.starts_with(begins), "{text}");
    }
    world.get("hello").await.error();
    let accepted = json!({ "VpcConfig": { "SubnetIds": [], "SecurityGroupIds": [] }, "Layers": [], "KMSKeyArn": "", "PackageType": "Zip", "TracingConfig": { "Mode": "PassThrough" } });
    world.create_with("hello", accepted).await.ok();
}

#[tokio::test]
async fn a_configuration_changes_under_its_revision() {
    let world = World::new();
    let first = world.create("hello").await.ok();
    world.update("hello", json!({ "RevisionId": "12345678-1234-4234-9234-123456789012", "Timeout": 9 })).await.refused(
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
    );
    world.pass(1_000);
    let second = world
        .update("hello", json!({ "RevisionId": first["RevisionId"], "Timeout": 9, "Runtime": "python3.9" }))
        .await
        .ok();
    assert_eq!(second["Timeout"], 9);
    assert_eq!(second["LastUpdateStatus"], "Successful");
    assert_eq!(second["StateReason"], "runs on Python 3.12.1");
    assert_ne!(second["RevisionId"], first["RevisionId"]);
    assert_eq!(second["LastModified"], "2025-11-21T10:31:01.000+0000");
    world.update("nobody", json!({})).await.refused(
        404,
        "ResourceNotFoundException",
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody",
    );
    let (status, code, _) = world.update("hello:1", json!({})).await.error();
    assert_eq!((status, code.as_str()), (400, "InvalidParameterValueException"));
    let other_role = format!("{ROLE}-other");
    assert_eq!(world.update("hello", json!({ "Role": other_role })).await.ok()["Role"], other_role);
}

#[tokio::test]
async fn environments_are_replaced_by_what_runs_and_kept_by_what_is_for_people() {
    let world = World::new();
    world.create("hello").await.ok();
    let retired = || world.execute.retired.lock().unwrap().len();
    world.invoke("hello", &[], "{}").await.ok();
    world.update("hello", json!({ "Description": "for people" })).await.ok();
    assert_eq!(retired(), 0);
    world.update("hello", json!({ "MemorySize": 256 })).await.ok();
    assert_eq!(retired(), 1);
    world.invoke("hello", &[], "{}").await.ok();
    world.update_code("hello", json!({ "ZipFile": zip("two") })).await.ok();
    assert_eq!(retired(), 2);
    world.invoke("hello", &[], "{}").await.ok();
    let calls = world.execute.calls.lock().unwrap();
    let seen: Vec<_> = calls.iter().map(|(spec, _)| (spec.memory.0, spec.code)).collect();
    assert_eq!(seen, [(128, hash("one")), (256, hash("one")), (256, hash("two"))]);
    assert_eq!(
        calls.iter().map(|(spec, _)| spec.key.revision).collect::<std::collections::HashSet<_>>().len(),
        3
    );
}

#[tokio::test]
async fn code_is_replaced_or_only_imagined() {
    let world = World::new();
    let first = world.create("hello").await.ok();
    let dry = world.update_code("hello", json!({ "ZipFile": zip("two"), "DryRun": true })).await.ok();
    assert_eq!(dry["CodeSha256"], zip_hash("two"));
    assert_eq!(world.configuration("hello").await.ok()["CodeSha256"], first["CodeSha256"]);
    let (status, code, _) =
        world.update_code("hello", json!({ "ZipFile": zip("two"), "RevisionId": "x" })).await.error();
    assert_eq!((status, code.as_str()), (412, "PreconditionFailedException"));
    let second =
        world.update_code("hello", json!({ "ZipFile": zip("two"), "Architectures": ["arm64"] })).await.ok();
    assert_eq!(
        (second["CodeSha256"].clone(), second["Architectures"].clone()),
        (zip_hash("two").into(), json!(["arm64"]))
    );
    let published =
        world.update_code("hello", json!({ "ZipFile": zip("three"), "Publish": true })).await.ok();
    assert_eq!(published["Version"], "1");
    assert_eq!(published["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:hello:1");
}

#[tokio::test]
async fn the_package_can_be_downloaded_for_ten_minutes() {
    let world = World::new();
    world.create("hello").await.ok();
    let got = world.get("hello").await.ok();
    let location = got["Code"]["Location"].as_str().unwrap();
    let path = location.strip_prefix("http://localhost:4566").unwrap();
    assert_eq!(world.call("GET", path, Value::Null).await.body, "one");
    assert_eq!(world.call("GET", &path.replace("signature=", "signature=0"), Value::Null).await.status, 403);
    world.pass(600_000);
    assert_eq!(world.call("GET", path, Value::Null).await.status, 403);
}

#[tokio::test]
async fn deleting_ends_the_function_and_its_environments() {
    let world = World::new();
    world.create_with("hello", json!({ "Publish": true })).await.ok();
    world.invoke("hello", &[], "{}").await.ok();
    let path = "/2015-03-31/functions/hello";
    world.call("DELETE", &format!("{path}?Qualifier=$LATEST"), Value::Null).await.refused(
        400,
        "InvalidParameterValueException",
        "$LATEST version cannot be deleted without deleting the function.",
    );
    assert_eq!(world.call("DELETE", &format!("{path}?Qualifier=1"), Value::Null).await.status, 204);
    assert_eq!(world.get("hello:1").await.status, 404);
    assert_eq!(world.call("DELETE", &format!("{path}?Qualifier=1"), Value::Null).await.status, 404);
    let deleted = world.call("DELETE", path, Value::Null).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(world.execute.retired.lock().unwrap().len(), 2);
    world.invoke("hello", &[], "{}").await.refused(
        404,
        "ResourceNotFoundException",
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:hello",
    );
    assert_eq!(world.call("DELETE", path, Value::Null).await.status, 404);
    world.create("hello").await.ok();
}

#[tokio::test]
async fn tags_are_set_read_and_removed() {
    let world = World::new();
    world.create("hello").await.ok();
    let path = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello";
    assert_eq!(
        world.call("POST", path, json!({ "Tags": { "a": "1", "b": "2", "c d": "3" } })).await.status,
        204
    );
    assert_eq!(
        world.call("DELETE", &format!("{path}?tagKeys=a&tagKeys=c%20d"), Value::Null).await.status,
        204
    );
    assert_eq!(world.call("GET", path, Value::Null).await.ok(), json!({ "Tags": { "b": "2" } }));
    assert_eq!(world.call("GET", &path.replace("hello", "nobody"), Value::Null).await.status, 404);
}

#[tokio::test]
async fn concurrency_is_reserved_and_leaves_a_hundred() {
    let world = World::new();
    world.create("hello").await.ok();
    world.create("other").await.ok();
    let put = async |name: &str, n: i64| {
        let path = format!("/2017-10-31/functions/{name}/concurrency");
        world.call("PUT", &path, json!({ "ReservedConcurrentExecutions": n })).await
    };
    assert_eq!(put("hello", 600).await.ok(), json!({ "ReservedConcurrentExecutions": 600 }));
    put("other", 301).await.refused(
        400,
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
    );
    put("other", 300).await.ok();
    put("hello", 0).await.ok();
    let (_, code, _) = put("hello", -1).await.error();
    assert_eq!(code, "ValidationException");
    let got = world.call("GET", "/2019-09-30/functions/other/concurrency", Value::Null).await.ok();
    assert_eq!(got["ReservedConcurrentExecutions"], 300);
    assert_eq!(world.get("other").await.ok()["Concurrency"]["ReservedConcurrentExecutions"], 300);
    let settings = world.call("GET", "/2016-08-19/account-settings", Value::Null).await.ok();
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 700);
    assert_eq!(settings["AccountUsage"], json!({ "TotalCodeSize": 6, "FunctionCount": 2 }));
    world.invoke("other", &[], "{}").await.ok();
    assert_eq!(world.execute.calls.lock().unwrap()[0].0.reserved_concurrency, Some(300));
    assert_eq!(
        world.call("DELETE", "/2017-10-31/functions/other/concurrency", Value::Null).await.status,
        204
    );
    world.invoke("other", &[], "{}").await.ok();
    assert_eq!(world.execute.calls.lock().unwrap()[1].0.reserved_concurrency, None);
}

#[tokio::test]
async fn the_fleet_knows_what_functions_never_invoked_have_reserved() {
    let mut world = World::new();
    for name in ["one", "two", "open"] {
        world.create(name).await.ok();
    }
    let put = async |world: &World, name: &str, n: i64| {
        let path = format!("/2017-10-31/functions/{name}/concurrency");
        world.call("PUT", &path, json!({ "ReservedConcurrentExecutions": n })).await.ok()
    };
    let told = |world: &World| {
        let key = ("000000000000".to_owned(), "us-east-1".to_owned());
        world.execute.reserved.lock().unwrap().get(&key).copied()
    };
    put(&world, "one", 300).await;
    put(&world, "two", 200).await;
    assert_eq!(told(&world), Some(500));
    put(&world, "one", 0).await;
    assert_eq!(told(&world), Some(200));
    put(&world, "one", 50).await;
    // A new life tells the fleet before the first call of any function.
    world.execute.reserved.lock().unwrap().clear();
    world.restart().await;
    world.invoke("open", &[], "{}").await.ok();
    assert_eq!(told(&world), Some(250));
    world.call("DELETE", "/2017-10-31/functions/one/concurrency", Value::Null).await;
    assert_eq!(told(&world), Some(200));
    world.call("DELETE", "/2015-03-31/functions/two", Value::Null).await;
    assert_eq!(told(&world), Some(0));
    put(&world, "one", 7).await;
    world.functions.reset().await.unwrap();
    assert_eq!(told(&world), Some(0));
}

#[tokio::test]
async fn packages_beyond_the_bound_of_requests_are_refused_unread() {
    let world = World::new();
    let declared = [("content-length", "70167212"), ("expect", "100-continue")];
    for (method, path, operation) in [
        ("POST", "/2015-03-31/functions", "CreateFunction"),
        ("PUT", "/2015-03-31/functions/hello/code", "UpdateFunctionCode"),
    ] {
        world.send(method, path, &declared, Vec::new()).await.refused(
            413,
            "RequestEntityTooLargeException",
            &format!("Request must be smaller than 70167211 bytes for the {operation} operation"),
        );
    }
}

#[tokio::test]
async fn code_storage_is_bounded() {
    let world = World::with(|settings| settings.code_storage_max = base::ByteCount(6));
    world.create("a").await.ok();
    world.create("b").await.ok();
    world.create("c").await.refused(400, "CodeStorageExceededException", "Code storage limit exceeded.");
    assert_eq!(world.get("c").await.status, 404);
    // What is replaced makes room for what replaces it.
    world.update_code("a", json!({ "ZipFile": zip("two") })).await.ok();
    let (_, code, _) = world.call("POST", "/2015-03-31/functions/a/versions", json!({})).await.error();
    assert_eq!(code, "CodeStorageExceededException");
}

#[tokio::test]
async fn what_lambda_has_and_neap_has_not_is_named() {
    let world = World::new();
    let (status, code, text) = world.call("GET", "/2025-11-30/capacity-providers", Value::Null).await.error();
    assert_eq!((status, code.as_str()), (404, "UnknownOperationException"));
    assert!(text.contains("ListCapacityProviders"), "{text}");
}

#[tokio::test]
async fn a_reset_leaves_nothing() {
    let mut world = World::new();
    world.create_with("hello", json!({ "Publish": true })).await.ok();
    world.invoke("hello", &[], "{}").await.ok();
    world.send_event("hello", "{}").await;
    world.functions.reset().await.unwrap();
    assert_eq!(world.invoke("hello", &[], "{}").await.status, 404);
    assert_eq!(world.functions.event_counts().backlog, 0);
    assert_eq!(world.execute.retired.lock().unwrap().len(), 2);
    world.run_upkeep();
    world.pass(20 * 60_000 + 1);
    crate::support::eventually("packages removed", async || {
        world.packages.unpacked.lock().unwrap().is_empty()
    })
    .await;
    world.create("hello").await.ok();
}
