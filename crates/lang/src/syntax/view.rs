//! Reading a file by its grammar. Nothing is reported here: a part of the wrong shape reads as
//! absent, because the shape check has reported it.

use std::cell::OnceCell;
use std::rc::Rc;

use super::grammar::Table;
use super::lax;
use super::location::{Location, Path};
use crate::source::Span;
use crate::yaml::{Data, Entry, Key, Node, TextMap};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Item<'a> {
    pub(crate) node: &'a Node,
    pub(crate) location: Location,
}

/// A text and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Text<'a> {
    pub(crate) value: Rc<str>,
    pub(crate) location: Location,
    source: &'a crate::yaml::Text,
}

impl<'a> Text<'a> {
    /// Maps ranges of the text to the file; `file` is the whole file's text.
    pub(crate) fn locator(&self, file: &'a str) -> Locator<'a> {
        Locator {
            text: self.source,
            file,
            map: OnceCell::new(),
        }
    }
}

/// Finds ranges of a text's value in the file. The alignment is made when first asked for.
pub(crate) struct Locator<'a> {
    text: &'a crate::yaml::Text,
    file: &'a str,
    map: OnceCell<TextMap>,
}

impl Locator<'_> {
    pub(crate) fn locate(&self, range: Span) -> Span {
        self.map
            .get_or_init(|| TextMap::new(&self.text.value, self.text.layout, self.file))
            .locate(range)
    }
}

/// A mapping with known keys, and where it stands.
#[derive(Clone)]
pub(crate) struct View<'a> {
    table: &'static Table,
    entries: &'a [Entry],
    pub(crate) location: Location,
}

impl<'a> Item<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self {
            node,
            location: Location::new(Path::default(), node.span),
        }
    }

    fn at(path: Path, node: &'a Node) -> Self {
        Self {
            node,
            location: Location::new(path, node.span),
        }
    }

    pub(crate) fn text(&self) -> Option<Text<'a>> {
        match &self.node.data {
            Data::Text(text) => Some(Text {
                value: text.value.clone(),
                location: self.location.clone(),
                source: text,
            }),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<Vec<Item<'a>>> {
        match &self.node.data {
            Data::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| Self::at(self.location.path.index(index), item))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The entries of a mapping with free keys.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a Key, Item<'a>)>> {
        match &self.node.data {
            Data::Map(entries) => Some(
                entries
                    .iter()
                    .map(|entry| {
                        (
                            &entry.key,
                            Self::at(self.location.path.key(entry.key.text.clone()), &entry.value),
                        )
                    })
                    .collect(),
            ),
            _ => None,
        }
    }

    pub(crate) fn mapping(&self, table: &'static Table) -> Option<View<'a>> {
        match &self.node.data {
            Data::Map(entries) => Some(View {
                table,
                entries,
                location: self.location.clone(),
            }),
            _ => None,
        }
    }
}

impl<'a> View<'a> {
    /// The value of a key, by its name in the table; null counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<Item<'a>> {
        self.node(name)?;
        self.entry(name).map(|(_, item)| item)
    }

    /// A key as written, and its value, null included.
    pub(crate) fn entry(&self, name: &str) -> Option<(&'a Key, Item<'a>)> {
        let entry = self.find(name)?;
        let path = self.location.path.key(entry.key.text.clone());
        Some((&entry.key, Item::at(path, &entry.value)))
    }

    /// As [`Self::get`], where the location does not matter.
    fn node(&self, name: &str) -> Option<&'a Node> {
        let node = &*self.find(name)?.value;
        (!matches!(node.data, Data::Null)).then_some(node)
    }

    fn find(&self, name: &str) -> Option<&'a Entry> {
        let aliases = self.table.key(name).map_or(&[][..], |key| key.aliases);
        let mut spellings = std::iter::once(name).chain(aliases.iter().copied());
        spellings.find_map(|spelling| {
            self.entries
                .iter()
                .find(|entry| *entry.key.text == *spelling)
        })
    }

    pub(crate) fn text(&self, name: &str) -> Option<Text<'a>> {
        self.get(name)?.text()
    }

    pub(crate) fn string(&self, name: &str) -> Option<String> {
        match &self.node(name)?.data {
            Data::Text(text) => Some(text.value.to_string()),
            _ => None,
        }
    }

    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        lax::bool(self.node(name)?)
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        lax::int(self.node(name)?)
    }

    pub(crate) fn float(&self, name: &str) -> Option<f64> {
        lax::float(self.node(name)?)
    }

    pub(crate) fn list(&self, name: &str) -> Option<Vec<Item<'a>>> {
        self.get(name)?.list()
    }

    pub(crate) fn mapping(&self, name: &str, table: &'static Table) -> Option<View<'a>> {
        self.get(name)?.mapping(table)
    }

    /// The name of the table it is read by.
    pub(crate) fn table_name(&self) -> &'static str {
        self.table.name
    }

    /// Where to point when the mapping as a whole is meant: its first key, or all of an empty one.
    pub(crate) fn head(&self) -> Location {
        let span = self
            .entries
            .first()
            .map_or(self.location.span, |entry| entry.key.span);
        Location::new(self.location.path.clone(), span)
    }
}
