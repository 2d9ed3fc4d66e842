//! Texts that match a regular expression, made from its syntax tree.
//!
//! Look-arounds and word boundaries are passed over, so a text may fail to match: callers check.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Rotations of the choices that are tried.
const VARIANTS: usize = 12;
/// Most repetitions a pattern can insist on and still get a text.
const MAX_REPEATS: u32 = 10_000;
/// Characters that read well, best first.
const PLEASANT: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ _-.";

/// Texts for `pattern`, shortest of their kind and then of at least `min` characters where the
/// pattern has room to grow. `variant` is where the rotation of choices begins. Empty for a pattern
/// that cannot be read.
pub(super) fn texts(pattern: &str, variant: usize, min: usize) -> impl Iterator<Item = String> {
    let hir = regex_syntax::parse(pattern).ok();
    hir.into_iter().flat_map(move |hir| {
        (variant..variant + VARIANTS).flat_map(move |variant| {
            let shortest = text(&hir, variant, 0);
            let missing = min.saturating_sub(shortest.chars().count());
            // A repetition may hold several characters, so fewer of them may do.
            let grown = (1..=missing)
                .rev()
                .map(|extra| text(&hir, variant, extra))
                .take(64)
                .collect::<Vec<_>>();
            std::iter::once(shortest).chain(grown)
        })
    })
}

fn text(hir: &Hir, variant: usize, extra: usize) -> String {
    let mut writer = Writer {
        variant,
        extra,
        out: String::new(),
    };
    writer.write(hir);
    writer.out
}

struct Writer {
    variant: usize,
    /// Repetitions still to be added beyond the required ones.
    extra: usize,
    out: String,
}

impl Writer {
    fn write(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.out.push_str(&String::from_utf8_lossy(&literal.0)),
            HirKind::Class(class) => self.out.extend(pick(class, self.variant)),
            HirKind::Repetition(repetition) => {
                let required = repetition.min.min(MAX_REPEATS) as usize;
                let room = repetition
                    .max
                    .map_or(usize::MAX, |max| (max - repetition.min) as usize);
                let added = self.extra.min(room);
                self.extra -= added;
                for _ in 0..required + added {
                    self.write(&repetition.sub);
                }
            }
            HirKind::Capture(capture) => self.write(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.write(part)),
            HirKind::Alternation(choices) => self.write(&choices[self.variant % choices.len()]),
        }
    }
}

fn pick(class: &Class, variant: usize) -> Option<char> {
    let holds = |wanted: char| match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&wanted)),
        Class::Bytes(class) => class.ranges().iter().any(|range| {
            u8::try_from(wanted).is_ok_and(|wanted| (range.start()..=range.end()).contains(&wanted))
        }),
    };
    let pleasant: Vec<char> = PLEASANT
        .chars()
        .filter(|&character| holds(character))
        .collect();
    if pleasant.is_empty() {
        return match class {
            Class::Unicode(class) => class
                .ranges()
                .first()
                .map(regex_syntax::hir::ClassUnicodeRange::start),
            Class::Bytes(class) => class
                .ranges()
                .first()
                .map(|range| char::from(range.start())),
        };
    }
    Some(pleasant[variant % pleasant.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str) {
        let regex = regex::Regex::new(pattern).unwrap();
        let found = texts(pattern, 0, 0).find(|text| regex.is_match(text));
        assert!(
            found.is_some(),
            "{pattern}: {:?}",
            texts(pattern, 0, 0).collect::<Vec<_>>()
        );
    }

    #[test]
    fn matches() {
        for pattern in [
            "^$",
            "^a{3,5}$",
            r"^\d{4}-\d{2}-\d{2}$",
            r"^[\w.+-]+@\w+\.\w{2,}$",
            "^(?i)otter$",
            "^(a|b|c)+$",
            "(?s)^.*$",
            r"\bword\b",
            "^[^a-z]+$",
            "^[äöü]+$",
            r"^\p{Greek}+$",
            "^#[0-9a-fA-F]{6}$",
            "^(?:[01]?\\d|2[0-3]):[0-5]\\d$",
        ] {
            check(pattern);
        }
    }

    #[test]
    fn an_unreadable_pattern_has_no_texts() {
        assert_eq!(texts("(?=a)", 0, 0).count(), 0);
    }

    #[test]
    fn variants_differ() {
        let first = |variant| texts("^[0-9]+$", variant, 0).next();
        assert_ne!(first(0), first(1));
    }
}
