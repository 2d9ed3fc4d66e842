//! Placeholders of other template languages: `{{name}}`, `${name}`, `%(name)s`, `{tags[0]}`. They
//! are text here and reach the model as they stand, so a field is probably meant wherever the word
//! inside is one. Everything else stays quiet: JSON samples, code and formulas are full of braces.

use std::collections::HashSet;

use crate::diagnostic::quoted;
use crate::field::Type;
use crate::names::{self, Finding, FindingKind, Names};
use crate::source::Span;
use crate::suggest::{self, Suggestion};

use super::resolve::is_literal;

/// Longest inside of a placeholder that is looked at, in bytes.
const LONGEST: usize = 200;
/// Shortest word that may be a misspelt name: any shorter one is near to some name.
const MISSPELT: usize = 4;
/// Most findings for one text.
const MOST: usize = 500;
/// Words that begin a control block of Jinja, Handlebars, Mustache, Liquid or Go templates.
const CONTROL: &[&str] = &[
    "if", "elif", "elseif", "unless", "for", "each", "with", "range", "set", "case", "when",
];

/// What is probably meant for a field and is none, with the form that would be one. `asked_for` are
/// the fields that the model is to fill: the prompt may name those in passing.
pub(crate) fn find(
    text: &str,
    names: &dyn Names,
    asked_for: &[&str],
    locate: &dyn Fn(Span) -> Span,
) -> Vec<Finding> {
    let mut scanner = Scanner {
        text,
        names,
        asked_for,
        locate,
        findings: Vec::new(),
        inserted: HashSet::new(),
        tags: Vec::new(),
        closed: HashSet::new(),
    };
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '%', '$', '<']) {
        if scanner.findings.len() >= MOST {
            break;
        }
        at += found;
        at = scanner.step(at);
    }
    scanner.judge_tags();
    scanner.findings
}

struct Scanner<'a> {
    text: &'a str,
    names: &'a dyn Names,
    asked_for: &'a [&'a str],
    locate: &'a dyn Fn(Span) -> Span,
    findings: Vec<Finding>,
    /// The names of real placeholders.
    inserted: HashSet<&'a str>,
    /// `<name>` with the byte it begins at.
    tags: Vec<(&'a str, usize)>,
    /// The names of `</name>`.
    closed: HashSet<&'a str>,
}

impl Scanner<'_> {
    /// Looks at what begins at `at`; returns where to go on.
    fn step(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        match rest.as_bytes() {
            [b'{', b'{', ..] => self.doubled(at),
            [b'{', ..] => self.single(at),
            [b'%', b'(', ..] => self.percent(at),
            [b'$', b'{', ..] => self.dollar_brace(at),
            [b'$', ..] => self.dollar(at),
            [b'<', b'%', ..] => self.erb(at),
            [b'<', ..] => self.tag(at),
            _ => at + 1,
        }
    }

    /// Exactly two braces, so that `{{{{name}}}}` remains a way to write about such placeholders.
    fn doubled(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let run = rest.len() - rest.trim_start_matches('{').len();
        let inside = &rest[run..];
        let end = inside.find(['{', '}']).unwrap_or(inside.len());
        let closing = &inside[end..];
        if run == 2 && closing.starts_with("}}") && !closing.starts_with("}}}") {
            let written = &rest[..run + end + 2];
            if let Some(meant) = self.meant(&inside[..end], true) {
                let sent = format!("{{{}}}", &inside[..end]);
                let message = format!(
                    "{} is sent to the model as the text {}",
                    quoted(written),
                    quoted(&sent)
                );
                self.warn(at, written, message, &meant);
            }
            return at + written.len();
        }
        at + run + end
    }

    fn single(&mut self, at: usize) -> usize {
        let inside = &self.text[at + 1..];
        let end = inside.find(['{', '}']).unwrap_or(inside.len());
        if !inside[end..].starts_with('}') {
            return at + 1;
        }
        let written = &self.text[at..at + end + 2];
        let inside = &inside[..end];
        if !is_literal(inside, self.names) {
            let name = inside.trim();
            self.inserted
                .insert(name.strip_prefix("state.").unwrap_or(name));
        } else if let Some(meant) = self.meant(inside, false) {
            self.as_it_stands(at, written, &meant);
        }
        at + written.len()
    }

    /// `%(name)s` of Python.
    fn percent(&mut self, at: usize) -> usize {
        let inside = &self.text[at + 2..];
        let name = path_at_start(inside);
        let conversion = inside[name.len()..].strip_prefix(')');
        if conversion.is_some_and(|rest| rest.starts_with(['s', 'd', 'i', 'f', 'r']))
            && let Some(meant) = self.lookup(name)
        {
            let written = &self.text[at..at + name.len() + 4];
            self.as_it_stands(at, written, &meant);
        }
        at + 2
    }

    /// `${name}` of shells and of JavaScript. The value is inserted, and the sign stays before it:
    /// right for an amount of money, and for nothing else.
    fn dollar_brace(&mut self, at: usize) -> usize {
        let inside = &self.text[at + 2..];
        let end = inside.find(['{', '}']).unwrap_or(inside.len());
        let name = inside[..end].trim();
        if inside[end..].starts_with('}')
            && !is_literal(&inside[..end], self.names)
            && let Ok(found) = names::resolve(name, 0, self.names, &|span| span)
            && matches!(
                found.ty,
                Some(Type::Str | Type::Bool | Type::List(_) | Type::Dict(_) | Type::Object(_))
            )
        {
            let written = &self.text[at..at + end + 3];
            let message = format!(
                "{} puts a `$` before the value that is sent to the model",
                quoted(written)
            );
            let meant = Meant::plain(name);
            self.warn(at, written, message, &meant);
        }
        // The braces are looked at once more, as the placeholder they are.
        at + 1
    }

    /// `$name` of shells, of PHP and of `string.Template`.
    fn dollar(&mut self, at: usize) -> usize {
        let name = path_at_start(&self.text[at + 1..]).trim_end_matches(['.', '-']);
        let before = self.text[..at].chars().next_back();
        // Quotes make it a key of JSON, such as `"$id"`.
        let is_part = before.is_some_and(|letter| "$\"'".contains(letter) || is_word(letter));
        if !is_part && !self.asked_for.contains(&name) && self.exactly(name) {
            let written = &self.text[at..=at + name.len()];
            self.as_it_stands(at, written, &Meant::plain(name));
        }
        at + 1 + name.len()
    }

    /// `<%= name %>` of ERB and its relatives.
    fn erb(&mut self, at: usize) -> usize {
        let inside = &self.text[at + 2..];
        let end = inside.find(['%', '<']).unwrap_or(inside.len());
        if inside[end..].starts_with("%>")
            && let Some(meant) = self.meant(&inside[..end], true)
        {
            let written = &self.text[at..at + end + 4];
            self.as_it_stands(at, written, &meant);
        }
        at + 2
    }

    /// `<name>`, which is judged at the end: where the prompt inserts the field besides or closes
    /// the tag, it is a heading for the model.
    fn tag(&mut self, at: usize) -> usize {
        let inside = &self.text[at + 1..];
        let (inside, closing) = match inside.strip_prefix('/') {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let name = path_at_start(inside);
        if inside[name.len()..].starts_with('>') && !name.is_empty() {
            if closing {
                self.closed.insert(name);
            } else {
                self.tags.push((name, at));
            }
        }
        at + 1
    }

    fn judge_tags(&mut self) {
        for (name, at) in std::mem::take(&mut self.tags) {
            if self.findings.len() < MOST
                && !self.asked_for.contains(&name)
                && self.exactly(name)
                && !self.closed.contains(name)
                && !self.inserted.contains(name)
            {
                let written = &self.text[at..at + name.len() + 2];
                self.as_it_stands(at, written, &Meant::plain(name));
            }
        }
    }

    fn as_it_stands(&mut self, at: usize, written: &str, meant: &Meant) {
        let message = format!("{} is sent to the model as it stands", quoted(written));
        self.warn(at, written, message, meant);
    }

    fn warn(&mut self, at: usize, written: &str, message: String, meant: &Meant) {
        self.findings.push(Finding {
            kind: FindingKind::ForeignPlaceholder,
            span: (self.locate)(Span::new(at, at + written.len())),
            message,
            suggestion: Some(Suggestion::advice(meant.advice(written))),
        });
    }

    /// The field meant by what stands between braces; `doubled` braces mean a placeholder more
    /// surely than single ones, which hold samples of all kinds.
    fn meant(&self, inside: &str, doubled: bool) -> Option<Meant> {
        if inside.len() > LONGEST || inside.contains('\n') {
            return None;
        }
        let trimmed = inside.trim();
        let is_block = trimmed.starts_with('%') && trimmed.ends_with('%');
        let (body, filtered) = match trimmed.split_once('|') {
            Some((body, filter)) if !path_at_start(filter.trim()).is_empty() => (body.trim(), true),
            _ => (trimmed, false),
        };
        let sigils = if doubled { "#/&~-=$@%!>^*?." } else { "#$@%?=" };
        let bare =
            body.trim_matches(|letter: char| letter.is_whitespace() || sigils.contains(letter));
        let bare = unquoted(bare);
        if !bare.is_empty() && path_at_start(bare) == bare {
            let meant = if doubled {
                self.lookup(bare)?
            } else {
                (bare != trimmed).then(|| self.without_prefix(bare))??
            };
            return Some(if filtered {
                meant.without_functions()
            } else {
                meant
            });
        }
        let first = bare.split_whitespace().next().unwrap_or_default();
        if (doubled || is_block) && CONTROL.contains(&first) {
            let mut words = bare[first.len()..].split(|letter: char| !in_path(letter));
            return words
                .find(|word| self.exactly(word))
                .map(|word| Meant::plain(word).without_control());
        }
        let head = path_at_start(bare);
        let tail = &bare[head.len()..];
        match tail.as_bytes() {
            [b'[', .., b']'] => self.indexed(head, &tail[1..tail.len() - 1]),
            [b'(', .., b')'] => {
                let argument = unquoted(tail[1..tail.len() - 1].trim());
                let meant = if names::is_known(head, self.names) {
                    let name = head.rsplit_once('.').map_or(head, |(name, _)| name);
                    Some(Meant::plain(name))
                } else {
                    self.exactly(argument).then(|| Meant::plain(argument))
                };
                meant.map(Meant::without_functions)
            }
            // An expression of n8n and the like: the last name counts.
            _ if doubled => {
                let last = bare.rsplit('.').next()?.trim_matches(|l: char| !in_path(l));
                (!bare.contains(['"', ':', ',']) && self.exactly(last)).then(|| Meant::plain(last))
            }
            _ => None,
        }
    }

    /// `tags[0]`, `card['city']`; of `json['name']` the name.
    fn indexed(&self, head: &str, index: &str) -> Option<Meant> {
        let key = unquoted(index.trim());
        let is_key = key != index.trim();
        if let Ok(found) = names::resolve(head, 0, self.names, &|span| span) {
            let in_list = matches!(found.ty, Some(Type::List(_))) || !is_key;
            return Some(if in_list {
                Meant::plain(head).without_positions()
            } else {
                Meant::plain(&format!("{head}.{key}"))
            });
        }
        if is_key && self.exactly(key) {
            return Some(Meant::plain(key));
        }
        self.lookup(head).map(Meant::without_positions)
    }

    /// The name a path means: as it is, or without what stands before it in other languages
    /// (`json.name`, `inputs.name`, `start.name`), or the one it is near to.
    fn lookup(&self, path: &str) -> Option<Meant> {
        let near = || {
            let last = path.rsplit('.').next()?;
            (last.len() >= MISSPELT)
                .then(|| suggest::nearest(last, self.names.variables()))?
                .map(Meant::plain)
        };
        self.without_prefix(path).or_else(near)
    }

    fn without_prefix(&self, path: &str) -> Option<Meant> {
        let dots = path.match_indices('.').map(|(at, _)| at + 1);
        std::iter::once(0)
            .chain(dots)
            .map(|start| &path[start..])
            .find(|rest| self.exactly(rest))
            .map(Meant::plain)
    }

    fn exactly(&self, path: &str) -> bool {
        !path.is_empty() && names::is_known(path, self.names)
    }
}

/// The field that was probably meant, and what else was tried with it.
struct Meant {
    name: String,
    tried: Tried,
}

enum Tried {
    Nothing,
    Function,
    Control,
    Position,
}

impl Meant {
    fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            tried: Tried::Nothing,
        }
    }

    fn without_functions(mut self) -> Self {
        self.tried = Tried::Function;
        self
    }

    fn without_control(mut self) -> Self {
        self.tried = Tried::Control;
        self
    }

    fn without_positions(mut self) -> Self {
        self.tried = Tried::Position;
        self
    }

    fn advice(&self, written: &str) -> String {
        let name = quoted(&format!("{{{}}}", self.name));
        match self.tried {
            Tried::Nothing if written.starts_with("${") => {
                format!("write {name} to insert the value alone")
            }
            Tried::Nothing => format!("write {name} to insert the value"),
            Tried::Function => {
                format!("write {name} to insert the value; prompts have no functions or filters")
            }
            Tried::Control => format!(
                "write {name} to insert the value; prompts have no conditions or loops, edges have"
            ),
            Tried::Position => format!(
                "write {name} to insert all of it; no item of a list can be picked by its position"
            ),
        }
    }
}

/// The name path a text begins with; may be empty.
fn path_at_start(text: &str) -> &str {
    &text[..text
        .find(|letter: char| !in_path(letter))
        .unwrap_or(text.len())]
}

fn in_path(letter: char) -> bool {
    letter == '.' || letter == '-' || is_word(letter)
}

fn is_word(letter: char) -> bool {
    unicode_ident::is_xid_continue(letter)
}

/// Without the quotes around it.
fn unquoted(text: &str) -> &str {
    ['\'', '"']
        .iter()
        .find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample_state;
    use super::*;

    /// What is said about a text: what is underlined, and the field it proposes.
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = find(text, &sample_state(), &["d"], &|span| span);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|finding| {
                let advice = &finding.suggestion.as_ref().unwrap().text;
                let form = advice.split('`').nth(1).unwrap();
                (&text[finding.span.start..finding.span.end], form)
            })
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn doubled_braces_around_a_field_are_warned_about() {
        check("Use {{topic}}.", &[("{{topic}}", "{topic}")]);
        check("{{ topic }}", &[("{{ topic }}", "{topic}")]);
        check("{{- topic -}}", &[("{{- topic -}}", "{topic}")]);
        check("{{state.topic}}", &[("{{state.topic}}", "{state.topic}")]);
        check("{{ .topic }}", &[("{{ .topic }}", "{topic}")]);
        check("{{tpoic}}", &[("{{tpoic}}", "{topic}")]);
        check("{{#start.topic#}}", &[("{{#start.topic#}}", "{topic}")]);
        check("{{ $json.topic }}", &[("{{ $json.topic }}", "{topic}")]);
        check(
            "{{ inputs.user.name }}",
            &[("{{ inputs.user.name }}", "{user.name}")],
        );
        check(
            "{{ $json[\"topic\"] }}",
            &[("{{ $json[\"topic\"] }}", "{topic}")],
        );
        check(
            "{{ $('Node').item.json.topic }}",
            &[("{{ $('Node').item.json.topic }}", "{topic}")],
        );
        check("{{ topic | upper }}", &[("{{ topic | upper }}", "{topic}")]);
        check("{{ topic.upper() }}", &[("{{ topic.upper() }}", "{topic}")]);
        check("{{#if topic}}x{{/if}}", &[("{{#if topic}}", "{topic}")]);
        check("{{my-field}}", &[("{{my-field}}", "{my-field}")]);
    }

    #[test]
    fn blocks_of_other_template_languages_are_warned_about() {
        check(
            "{% for t in l %}{% endfor %}",
            &[("{% for t in l %}", "{l}")],
        );
        check("<%= topic %>", &[("<%= topic %>", "{topic}")]);
    }

    #[test]
    fn positions_and_keys_in_square_brackets_are_warned_about() {
        check("{l[0]}", &[("{l[0]}", "{l}")]);
        check("{user['name']}", &[("{user['name']}", "{user.name}")]);
        check("{ d[\"k\"] }", &[("{ d[\"k\"] }", "{d.k}")]);
        check("{topci[0]}", &[("{topci[0]}", "{topic}")]);
    }

    #[test]
    fn signs_before_a_field_are_warned_about() {
        check("%(topic)s", &[("%(topic)s", "{topic}")]);
        check("%(tpoic)d", &[("%(tpoic)d", "{topic}")]);
        check("Greet $topic.", &[("$topic", "{topic}")]);
        check("Greet ${user.name}", &[("${user.name}", "{user.name}")]);
        check("Greet <topic>", &[("<topic>", "{topic}")]);
        check(
            "{$topic} {'topic'}",
            &[("{$topic}", "{topic}"), ("{'topic'}", "{topic}")],
        );
        check("{topic|upper}", &[("{topic|upper}", "{topic}")]);
        check("{len(topic)}", &[("{len(topic)}", "{topic}")]);
    }

    #[test]
    fn json_samples_code_and_formulas_stay_quiet() {
        for text in [
            "",
            "{topic} {state.topic} {user.name} { topic }",
            r#"{"topic": "x", "user": {"name": "y"}} {topic}"#,
            r#"{{"topic": {{"user": 1}}}} {topic}"#,
            r#"{"$topic": 1, "$id": "$topic"}"#,
            "{{other}} {{ a }} {{1}} {{}} {} {{ }}",
            // The way to write about placeholders.
            "{{{{topic}}}} {{{topic}}}",
            r"\frac{1}{2} \sqrt{-l} {1; 2} {x^2}",
            "body { font: topic; } function f() { return topic; }",
            "{insert the topic here}",
            "It costs ${user.age} or $5; 100 %(about) x, %(other)s",
            "<topic>{topic}</topic> <other> <topic>",
            "Write <d> and $d",
            "a < topic and topic > b",
            "US$topic $$topic",
            "{% raw %} {%",
            "<%",
        ] {
            check(text, &[]);
        }
    }
}
