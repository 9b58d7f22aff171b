//! `neap ls`: the functions of the account and region.

use super::{Ending, client};
use crate::{
    args,
    client::functions::Function,
    error::Error,
    output::{Output, Paint, size, table},
};

/// Runs the command.
pub(crate) async fn run(arguments: args::List, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    let mut functions = client.functions().await?;
    functions.sort_by(|one, other| one.function_name.cmp(&other.function_name));
    for function in &mut functions {
        // The listing of the API leaves the state out.
        if function.state.is_none() {
            match client.function(&function.function_name).await {
                Ok(whole) => *function = whole,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
    }
    if output.json {
        output.json_document(&functions);
    } else if functions.is_empty() {
        output.note("no functions yet; make one with `neap deploy DIR`");
    } else {
        output.line(&listing(&functions, output.paint()));
    }
    Ok(Ending::Success)
}

fn listing(functions: &[Function], paint: Paint) -> String {
    let rows = functions.iter().map(|function| row(function, paint)).collect();
    let header = ["NAME", "RUNTIME", "MEMORY", "TIMEOUT", "VERSION", "LAST MODIFIED", "SIZE", "STATE"];
    table(&header, &[2, 3, 6], rows)
}

fn row(function: &Function, paint: Paint) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let number = |value: Option<u32>, unit: &str| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value} {unit}"))
    };
    let state = match function.state.as_deref() {
        Some("Active") => paint.green("Active"),
        Some(other) => paint.yellow(other),
        None => "-".to_owned(),
    };
    vec![
        function.function_name.clone(),
        text(&function.runtime),
        number(function.memory_size, "MB"),
        number(function.timeout, "s"),
        text(&function.version),
        text(&function.last_modified).chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect(),
        size(function.code_size),
        state,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_one_row_for_each_function() {
        let output = Output { json: false, colour_out: false, colour_err: false, live: false };
        let function = Function {
            function_name: "hello".into(),
            runtime: Some("python3.12".into()),
            memory_size: Some(128),
            timeout: Some(3),
            version: Some("$LATEST".into()),
            last_modified: Some("2026-01-31T12:00:00.000+0000".into()),
            code_size: 1_200,
            state: Some("Active".into()),
            ..Function::default()
        };
        let text = listing(&[function], output.paint());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "NAME   RUNTIME     MEMORY  TIMEOUT  VERSION  LAST MODIFIED          SIZE  STATE"
        );
        assert_eq!(
            lines[1],
            "hello  python3.12  128 MB      3 s  $LATEST  2026-01-31 12:00:00  1.2 kB  Active"
        );
    }
}
