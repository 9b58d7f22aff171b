//! The program that a sandbox executes: as the daemon describes it, with the start or later, and as the kernel takes it.

use super::protocol::{self, Reader, Writer};
use std::ffi::CStr;

/// The daemon's description, in raw bytes.
pub(crate) struct Order<'a> {
    pub(crate) cwd: &'a [u8],
    /// Path inside, then its arguments.
    pub(crate) argv: Vec<&'a [u8]>,
    /// Name, value.
    pub(crate) env: Vec<(&'a [u8], &'a [u8])>,
}

impl Order<'_> {
    /// As [`Program::read`] reads it. False when a text contains a zero.
    #[must_use]
    pub(super) fn write(&self, writer: &mut Writer) -> bool {
        let mut whole = writer.text(&[self.cwd]);
        writer.number(self.argv.len() as u64);
        for argument in &self.argv {
            whole &= writer.text(&[argument]);
        }
        writer.number(self.env.len() as u64);
        for (name, value) in &self.env {
            whole &= writer.text(&[name, b"=", value]);
        }
        whole
    }

    /// For an init that waits, as [`Program::decode`] reads it; `None` when a text contains a zero.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut writer = Writer::new(protocol::BEGIN);
        self.write(&mut writer).then(|| writer.finish())
    }
}

/// A program in the bytes that it was read from, ready to be executed without further allocation.
pub(crate) struct Program<'a> {
    pub(super) cwd: &'a CStr,
    pub(super) arguments: Vec<&'a CStr>,
    pub(super) environment: Vec<&'a CStr>,
    pub(super) path: &'a CStr,
    /// Pointers to the arguments, ended by a null.
    pub(super) argv: Vec<*const libc::c_char>,
    /// Pointers to the environment, ended by a null.
    pub(super) envp: Vec<*const libc::c_char>,
}

impl<'a> Program<'a> {
    /// `None`: malformed.
    pub(super) fn read(reader: &mut Reader<'a>) -> Option<Program<'a>> {
        let cwd = reader.text()?;
        let (arguments, environment) = (reader.texts()?, reader.texts()?);
        let (argv, envp) = (list(&arguments), list(&environment));
        Some(Program { cwd, path: arguments.first()?, argv, envp, arguments, environment })
    }

    /// Of a whole packet.
    pub(super) fn decode(packet: &'a [u8]) -> Option<Program<'a>> {
        let mut reader = Reader::new(packet);
        let kind = reader.kind()?;
        let program = Program::read(&mut reader)?;
        (kind == protocol::BEGIN && reader.is_done()).then_some(program)
    }
}

/// Pointers, ended by a null.
pub(super) fn list(texts: &[&CStr]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Vec<u8> {
        let argv = vec![b"/program".as_slice(), b"", b"two words"];
        let env = vec![(b"NAME".as_slice(), b"va=lue".as_slice()), (b"EMPTY", b"")];
        Order { cwd: b"/var/task", argv, env }.encode().unwrap()
    }

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let bytes = order();
        let program = Program::decode(&bytes).unwrap();
        assert_eq!((program.cwd, program.path), (c"/var/task", c"/program"));
        assert_eq!(program.arguments, [c"/program", c"", c"two words"]);
        assert_eq!(program.environment, [c"NAME=va=lue", c"EMPTY="]);
        assert_eq!(program.argv.len(), 4);
        assert!(program.argv.last().unwrap().is_null() && program.envp.last().unwrap().is_null());
    }

    #[test]
    fn malformed_orders_are_none() {
        let bytes = order();
        for end in 0..bytes.len() {
            assert!(Program::decode(&bytes[..end]).is_none(), "of {end} bytes");
        }
        assert!(Program::decode(&[&bytes[..], &[0]].concat()).is_none(), "longer than it says");
        assert!(Program::decode(&[&[protocol::SPAWN], &bytes[1..]].concat()).is_none(), "of another kind");
        let nothing = Order { cwd: b"/", argv: Vec::new(), env: Vec::new() }.encode().unwrap();
        assert!(Program::decode(&nothing).is_none(), "without a program");
        // A count of texts, and a length, beyond what is there.
        for at in [1, 19] {
            let mut absurd = bytes.clone();
            absurd[at..at + 8].fill(0xff);
            assert!(Program::decode(&absurd).is_none());
        }
        assert!(Order { cwd: b"/", argv: vec![b"a\0b"], env: Vec::new() }.encode().is_none());
    }
}
