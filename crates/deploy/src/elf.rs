//! What kind of program a file is: only a static one starts in an image that holds nothing else.
//!
//! The four numbers that tell it are read by hand. A parser of all object files would be one more
//! dependency of the program that is shipped, for what is a few lines here.

use std::fmt;

use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

/// The most bytes of a file that [`Program::of`] needs.
pub const HEAD: usize = 4096;

/// A processor, as images name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// The architecture that this program was built for.
    pub const fn own() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::Amd64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Arm64)
        } else {
            None
        }
    }

    /// The architecture as in the name of a Rust target.
    pub fn of_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

/// A Linux program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// `None` for a processor that we make no images for.
    pub architecture: Option<Architecture>,
    /// Whether it needs no loader and no libraries.
    pub is_static: bool,
}

impl Program {
    /// Reads the head of a file; `None` where it is not a 64-bit little-endian Linux program.
    pub fn of(head: &[u8]) -> Option<Self> {
        let header = FileHeader64::<LittleEndian>::parse(head).ok()?;
        if !header.is_little_endian() || !matches!(header.e_type(LittleEndian), ET_EXEC | ET_DYN) {
            return None;
        }
        let architecture = match header.e_machine(LittleEndian) {
            EM_X86_64 => Some(Architecture::Amd64),
            EM_AARCH64 => Some(Architecture::Arm64),
            _ => None,
        };
        let segments = header.program_headers(LittleEndian, head).ok()?;
        let is_static = segments
            .iter()
            .all(|segment| segment.p_type(LittleEndian) != PT_INTERP);
        Some(Self {
            architecture,
            is_static,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program's head with those segments.
    fn head(machine: u16, segments: &[u32]) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(64, 0);
        head[16] = 3;
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[32] = 64;
        head[54] = 56;
        head[56] = u8::try_from(segments.len()).expect("few");
        for segment in segments {
            head.extend(segment.to_le_bytes());
            head.resize(head.len() + 52, 0);
        }
        head
    }

    #[test]
    fn a_loader_makes_a_program_dynamic() {
        let check = |machine, segments: &[u32], architecture, is_static| {
            let program = Program {
                architecture,
                is_static,
            };
            assert_eq!(Program::of(&head(machine, segments)), Some(program));
        };
        check(62, &[6, 1, 2], Some(Architecture::Amd64), true);
        check(62, &[6, 3, 1], Some(Architecture::Amd64), false);
        check(183, &[1], Some(Architecture::Arm64), true);
        check(8, &[1], None, true);
    }

    #[test]
    fn other_files_are_none() {
        assert_eq!(Program::of(b""), None);
        assert_eq!(Program::of(b"#!/bin/sh\n"), None);
        let whole = head(62, &[1, 3]);
        for end in 0..whole.len() - 52 {
            assert_eq!(Program::of(&whole[..end]), None, "cut at {end}");
        }
    }
}
