//! The vocabulary of the tables that describe the file format. The tables themselves are beside the
//! constructs they describe; [`super::shape`] checks files against them, and [`crate::schema`]
//! turns them into JSON Schema and a list of keys that a test compares with the reference.

/// A mapping with known keys.
pub(crate) struct Table {
    /// What it describes, such as `node`; the name of its JSON Schema definition.
    pub(crate) name: &'static str,
    /// The key whose value tells one such mapping from another, for messages.
    pub(crate) identity: Option<&'static str>,
    pub(crate) keys: &'static [Key],
    /// Keys for people, accepted without a diagnostic.
    pub(crate) notes: &'static [&'static str],
    /// Keys shown in the Python original's documents that change nothing here, and what to do about
    /// each.
    pub(crate) ignored: &'static [(&'static str, &'static str)],
}

impl Table {
    pub(crate) const fn new(name: &'static str, keys: &'static [Key]) -> Self {
        Self {
            name,
            identity: None,
            keys,
            notes: &[],
            ignored: &[],
        }
    }

    pub(crate) const fn identity(mut self, key: &'static str) -> Self {
        self.identity = Some(key);
        self
    }

    pub(crate) const fn notes(mut self, notes: &'static [&'static str]) -> Self {
        self.notes = notes;
        self
    }

    pub(crate) const fn ignored(
        mut self,
        ignored: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.ignored = ignored;
        self
    }

    /// The key of that name or alias.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys
            .iter()
            .find(|key| key.name == name || key.aliases.contains(&name))
    }
}

/// A key of a [`Table`].
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Other spellings that mean the same.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    /// Other keys, or values of other keys, beside which a required key may be missing.
    pub(crate) unless: &'static [(&'static str, Option<&'static str>)],
    /// As JSON. A key with a default does not take null; one without takes null as absent.
    pub(crate) default: Option<&'static str>,
    /// Read only where another key of the mapping has this value.
    pub(crate) when: Option<(&'static str, &'static str)>,
    /// What to write for several values, where a list might be tried but is not accepted.
    pub(crate) no_list: Option<&'static str>,
    pub(crate) doc: &'static str,
}

/// An optional key without default.
pub(crate) const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        aliases: &[],
        shape,
        required: false,
        unless: &[],
        default: None,
        when: None,
        no_list: None,
        doc,
    }
}

impl Key {
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Required, but not beside one of these keys (or this value of it).
    pub(crate) const fn required_unless(
        mut self,
        others: &'static [(&'static str, Option<&'static str>)],
    ) -> Self {
        self.required = true;
        self.unless = others;
        self
    }

    pub(crate) const fn default(mut self, json: &'static str) -> Self {
        self.default = Some(json);
        self
    }

    pub(crate) const fn when(mut self, key: &'static str, value: &'static str) -> Self {
        self.when = Some((key, value));
        self
    }

    pub(crate) const fn no_list(mut self, advice: &'static str) -> Self {
        self.no_list = Some(advice);
        self
    }

    pub(crate) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

/// What a value may be.
pub(crate) enum Shape {
    /// Text; never made from a number.
    Text,
    /// Text that is not blank.
    Name,
    /// The name of an environment variable; blank counts as absent.
    Variable,
    /// Text with `{placeholders}`.
    Template,
    /// Text in the condition language.
    Condition,
    /// Text such as `list[str]`.
    Type,
    /// The version of the file format.
    Version,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words in any letter case.
    AnyCaseWord(&'static [&'static str]),
    Bool,
    /// A whole number in this range.
    Int(i64, i64),
    /// A number in this range.
    Float(f64, f64),
    /// A number above this.
    Above(f64),
    /// Anything.
    Any,
    Mapping(&'static Table),
    /// A list with at least this many items.
    List(&'static Shape, usize),
    /// A mapping with free keys and at least this many entries; the word says what the keys name.
    Open(&'static str, &'static Shape, usize),
    /// The first of these that fits the kind of value.
    Either(&'static [Shape]),
}

/// No upper bound.
pub(crate) const NO_LIMIT: i64 = i64::MAX;

impl Shape {
    /// For "expected …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text
            | Self::Name
            | Self::Variable
            | Self::Template
            | Self::Condition
            | Self::Type
            | Self::Version => "text".into(),
            Self::Word(words) | Self::AnyCaseWord(words) => {
                format!(
                    "one of {}",
                    crate::suggest::known_list(words.iter().copied())
                )
            }
            Self::Bool => "true or false".into(),
            Self::Int(..) => "a whole number".into(),
            Self::Float(..) | Self::Above(_) => "a number".into(),
            Self::Any => "any value".into(),
            Self::Mapping(_) | Self::Open(..) => "a mapping".into(),
            Self::List(..) => "a list".into(),
            Self::Either(shapes) => {
                let parts: Vec<String> = shapes.iter().map(Self::describe).collect();
                parts.join(" or ")
            }
        }
    }
}
