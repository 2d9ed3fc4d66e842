//! The parts of a Markdown document that mean something to a program.

/// A part of a document, in order.
pub(super) enum Part {
    /// A command that readers do not see.
    Run {
        line: usize,
        command: String,
    },
    Block(Block),
}

/// A fenced block.
pub(super) struct Block {
    /// Of its fence, from 1.
    pub(super) line: usize,
    /// What stands behind the fence.
    pub(super) info: String,
    pub(super) text: String,
    /// The comments before it: name and value.
    directives: Vec<(String, String)>,
}

impl Block {
    /// The value of a comment before the block.
    pub(super) fn directive(&self, name: &str) -> Option<&str> {
        let found = self.directives.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The names of comments that belong to the block behind them.
const DIRECTIVES: &[&str] = &["not run", "file", "from", "inputs"];

/// The blocks of a document, and the comments that are run.
pub(super) fn read(document: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut directives = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim();
        if let Some(info) = line.strip_prefix("```") {
            let body = lines.by_ref().map(|(_, line)| line);
            let body = body.take_while(|line| line.trim() != "```");
            let text = body.fold(String::new(), |text, line| text + line + "\n");
            parts.push(Part::Block(Block {
                line: at + 1,
                info: info.trim().to_owned(),
                text,
                directives: std::mem::take(&mut directives),
            }));
        } else if let Some((name, value)) = comment(line) {
            match name {
                "run" => parts.push(Part::Run {
                    line: at + 1,
                    command: value.to_owned(),
                }),
                name => {
                    assert!(DIRECTIVES.contains(&name), "line {}: {line}", at + 1);
                    directives.push((name.to_owned(), value.to_owned()));
                }
            }
        } else {
            assert!(
                line.is_empty() || directives.is_empty(),
                "line {}: a comment for a block that does not follow",
                at + 1
            );
        }
    }
    parts
}

/// `<!-- name: value -->` on a line of its own.
fn comment(line: &str) -> Option<(&str, &str)> {
    let inside = line.strip_prefix("<!--")?.strip_suffix("-->")?;
    let (name, value) = inside.split_once(':')?;
    Some((name.trim(), value.trim()))
}

/// The lines outside of blocks, with their numbers.
fn prose(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    document
        .lines()
        .enumerate()
        .filter(move |(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            fenced ^= is_fence;
            !fenced && !is_fence
        })
        .map(|(at, line)| (at + 1, line))
}

/// Spans of code in the text, with their lines.
pub(super) fn code_spans(document: &str) -> Vec<(usize, String)> {
    prose(document)
        .flat_map(|(at, line)| {
            let spans = line.split('`').skip(1).step_by(2);
            spans.map(move |span| (at, span.replace("\\|", "|")))
        })
        .collect()
}

/// Links to other places of the project, with their lines.
pub(super) fn links(document: &str) -> Vec<(usize, String)> {
    prose(document)
        .flat_map(|(at, line)| {
            let targets = line.split("](").skip(1);
            targets.filter_map(move |rest| Some((at, rest.split_once(')')?.0.to_owned())))
        })
        .filter(|(_, target)| !target.contains("://"))
        .collect()
}

/// The names under which the headings can be linked to.
pub(super) fn headings(document: &str) -> Vec<String> {
    prose(document)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#'))
        .map(|heading| {
            let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
            let name = heading.trim().to_lowercase();
            name.chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}
