//! The least executable for `provided.al2023`: says hello to the name in the event. Without a Runtime API to ask it is a bare loop of
//! the same handler over the socket that is standard input: frames of a little-endian length and a JSON event.
//!
//! A program of its own, which the benches compile with the standard library alone; no module of this crate.

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::fd::AsFd,
};

/// Where events come from and answers go to, in the path of the Runtime API.
const INVOCATION: &str = "/2018-06-01/runtime/invocation";

fn handle(event: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(event);
    let name = text.split_once(r#""name":""#).and_then(|(_, rest)| rest.split_once('"'));
    format!(r#"{{"message":"hello {}"}}"#, name.map_or("nobody", |(name, _)| name)).into_bytes()
}

fn main() -> io::Result<()> {
    match env::var("AWS_LAMBDA_RUNTIME_API") {
        Ok(api) => serve(&api),
        Err(_) => frames(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
    }
}

fn serve(api: &str) -> io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(api)?);
    stream.get_ref().set_nodelay(true)?;
    let next = format!("GET {INVOCATION}/next HTTP/1.1\r\nhost: {api}\r\n\r\n");
    loop {
        stream.get_mut().write_all(next.as_bytes())?;
        let (request, event) = response(&mut stream)?;
        let answer = handle(&event);
        let head = format!(
            "POST {INVOCATION}/{request}/response HTTP/1.1\r\nhost: {api}\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), &answer].concat())?;
        response(&mut stream)?;
    }
}

/// The request's identifier, if the response names one, and its body.
fn response(stream: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let (mut request, mut length, mut line) = (String::new(), 0, String::new());
    while stream.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            if name.eq_ignore_ascii_case("lambda-runtime-aws-request-id") {
                request = value.to_owned();
            } else if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            }
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((request, body))
}

fn frames(mut channel: File) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        if channel.read_exact(&mut length).is_err() {
            return Ok(());
        }
        let mut event = vec![0; u32::from_le_bytes(length) as usize];
        channel.read_exact(&mut event)?;
        let answer = handle(&event);
        channel.write_all(&[&(answer.len() as u32).to_le_bytes(), &answer[..]].concat())?;
    }
}
