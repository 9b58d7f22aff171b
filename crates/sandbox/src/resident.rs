//! What a process keeps in memory that it does not need any more.

use crate::sys;
use std::{io, ops::Range, path::Path};

/// Gives back what only the start of this process needed: pages of its instructions, which the kernel maps again from its cache
/// where they are executed again, and free memory of the allocator. Other processes keep what they share. Blocks for less than
/// a millisecond.
pub fn forget_the_start() -> io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    for range in instructions(&std::fs::read_to_string("/proc/self/maps")?, &program) {
        sys::drop_instructions(range)?;
    }
    sys::trim_allocator();
    Ok(())
}

/// Where the program's instructions are mapped: nothing that can have been written to, which would be lost.
fn instructions(maps: &str, program: &Path) -> Vec<Range<usize>> {
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (addresses, rights) = (words.next()?, words.next()?);
        // Offset, device, inode; a name may have spaces.
        let name = line.split_once('/').map(|(_, rest)| rest)?;
        let (first, end) = addresses.split_once('-')?;
        let own = program.strip_prefix("/").is_ok_and(|program| program == Path::new(name));
        (rights == "r-xp" && own).then_some(address(first)?..address(end)?)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instructions_of_the_program_itself_are_found() {
        let maps = "\
55d000000000-55d000100000 r--p 00000000 fe:00 42 /usr/bin/my program
55d000100000-55d000300000 r-xp 00100000 fe:00 42 /usr/bin/my program
55d000300000-55d000310000 r--p 00300000 fe:00 42 /usr/bin/my program
55d000310000-55d000320000 rw-p 00310000 fe:00 42 /usr/bin/my program
55d000320000-55d000330000 rwxp 00310000 fe:00 42 /usr/bin/my program
7f0000000000-7f0000100000 r-xp 00000000 fe:00 43 /usr/lib/libc.so.6
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
nonsense";
        let found = instructions(maps, Path::new("/usr/bin/my program"));
        let bounds: Vec<_> = found.iter().map(|range| (range.start, range.end)).collect();
        assert_eq!(bounds, [(0x55d0_0010_0000, 0x55d0_0030_0000)]);
        assert_eq!(instructions(maps, Path::new("/usr/bin/other")), []);
    }

    #[test]
    fn the_process_goes_on() {
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let found = instructions(&std::fs::read_to_string("/proc/self/maps").unwrap(), &program);
        let here = the_process_goes_on as fn() as usize;
        assert!(found.iter().any(|range| range.contains(&here)), "{found:x?} has {here:x}");
        let work = || (0..1_000_000_u64).fold(0, |sum: u64, one| sum.rotate_left(5) ^ one);
        let others = std::thread::spawn(work);
        forget_the_start().unwrap();
        assert_eq!(others.join().unwrap(), work());
    }
}
