//! A function's name, partial ARN or ARN, a layer's ARN, and base's identifiers.
#![no_main]

use functions::logic::{
    layers::LayerArn,
    names::{Form, Reference},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for form in [Form::Plain, Form::Namespaced] {
        let _ = Reference::parse(&text, form);
    }
    if let Some(arn) = LayerArn::parse(&text) {
        assert!(text.contains(arn.name) && arn.account.len() == 12);
    }
    if let Ok(arn) = text.parse::<base::Arn>() {
        assert_eq!(arn.to_string(), text);
    }
    if let Ok(id) = text.parse::<base::RequestId>() {
        assert_eq!(id.to_string(), text);
    }
});
