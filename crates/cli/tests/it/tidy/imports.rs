//! Which file of a crate imports which, read from the sources.
//!
//! An import is a `use` or a path in the code. Its name is followed through re-exports to the file
//! that defines it, or else to the last file on the way. Not an import: `mod x;`, what only tests
//! see, what a comment or an attribute names, and the re-export of an item that the file itself
//! does not mention.

use std::collections::{BTreeMap, HashMap, HashSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

/// Texts of files by their paths, such as `src/lib.rs`.
pub(super) type Sources = BTreeMap<String, String>;

/// One file names something that another one defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
    /// As it is written, groups written out.
    pub(super) path: String,
}

/// Longest chain of re-exports that is followed: one that is longer goes in a circle.
const MAX_DEPTH: usize = 32;

/// The imports between the files of a crate, that begins with the file `root`.
pub(super) fn imports(root: &str, sources: &Sources) -> Vec<Import> {
    let mut tree = Tree::default();
    let (folder, _) = root.rsplit_once('/').expect("it is in a folder");
    tree.add_file(root, folder, None, sources);
    let mut found = Vec::new();
    for module in 0..tree.modules.len() {
        tree.imports_of(module, &mut found);
    }
    found.sort();
    found.dedup_by(|one, other| (&one.from, &one.to) == (&other.from, &other.to));
    found
}

/// Modules, each with the ones in it.
#[derive(Default)]
struct Tree {
    modules: Vec<Module>,
}

struct Module {
    file: String,
    parent: Option<usize>,
    children: HashMap<String, usize>,
    /// Names of what is defined here.
    items: HashSet<String>,
    uses: Vec<Use>,
    code: Code,
}

/// A name that a `use` brings into a module.
struct Use {
    path: Path,
    /// `None` for all that is in there.
    name: Option<String>,
    is_reexport: bool,
}

#[derive(Debug, Clone)]
struct Path {
    segments: Vec<String>,
    line: usize,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Module(usize),
    ItemOf(usize),
}

impl Target {
    fn module(self) -> usize {
        match self {
            Self::Module(module) | Self::ItemOf(module) => module,
        }
    }
}

impl Tree {
    fn add_file(
        &mut self,
        file: &str,
        folder: &str,
        parent: Option<usize>,
        sources: &Sources,
    ) -> usize {
        let text = &sources[file];
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.add(file, folder, parent, parsed.items, sources)
    }

    /// Adds a module and those in it. Their files are in `folder`.
    fn add(
        &mut self,
        file: &str,
        folder: &str,
        parent: Option<usize>,
        items: Vec<Item>,
        sources: &Sources,
    ) -> usize {
        let module = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: HashMap::new(),
            items: HashSet::new(),
            uses: Vec::new(),
            code: Code::default(),
        });
        for item in items {
            if is_test(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    let folder = format!("{folder}/{name}");
                    let child = if let Some((_, items)) = inner.content {
                        self.add(file, &folder, Some(module), items, sources)
                    } else {
                        let file = [format!("{folder}.rs"), format!("{folder}/mod.rs")]
                            .into_iter()
                            .find(|file| sources.contains_key(file))
                            .unwrap_or_else(|| panic!("{file}: `mod {name};` has no file"));
                        self.add_file(&file, &folder, Some(module), sources)
                    };
                    self.modules[module].children.insert(name, child);
                }
                Item::Use(item) if item.leading_colon.is_none() => {
                    let is_reexport = !matches!(item.vis, Visibility::Inherited);
                    let uses = &mut self.modules[module].uses;
                    flatten(&item.tree, &[], &mut |path, name| {
                        uses.push(Use {
                            path,
                            name,
                            is_reexport,
                        });
                    });
                }
                item => {
                    let module = &mut self.modules[module];
                    module.items.extend(name_of(&item));
                    module.code.visit_item(&item);
                }
            }
        }
        module
    }

    fn imports_of(&self, module: usize, found: &mut Vec<Import>) {
        let here = &self.modules[module];
        let is_mentioned = |name: &Option<String>| {
            name.as_ref()
                .is_some_and(|name| here.code.names.contains(name))
        };
        let uses = here.uses.iter().filter_map(|import| {
            let target = self.resolve(module, &import.path.segments, 0)?;
            let passes_on = import.is_reexport
                && self.is_within(target.module(), module)
                && !is_mentioned(&import.name);
            (!passes_on).then_some((target, &import.path))
        });
        let paths = here
            .code
            .paths
            .iter()
            .filter_map(|path| Some((self.resolve(module, &path.segments, 0)?, path)));
        for (target, path) in uses.chain(paths) {
            let to = &self.modules[target.module()].file;
            if *to != here.file {
                found.push(Import {
                    from: here.file.clone(),
                    to: to.clone(),
                    line: path.line,
                    path: path.segments.join("::"),
                });
            }
        }
    }

    fn is_within(&self, mut module: usize, outer: usize) -> bool {
        while module != outer {
            match self.modules[module].parent {
                Some(parent) => module = parent,
                None => return false,
            }
        }
        true
    }

    /// What a path means in a module; `None` where it leads out of the crate.
    fn resolve(&self, from: usize, segments: &[String], depth: usize) -> Option<Target> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (first, mut rest) = segments.split_first()?;
        let mut start = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => self.find(from, name, depth)?,
        };
        while let (Target::Module(module), Some((name, after))) = (start, rest.split_first()) {
            start = if name == "super" {
                Target::Module(self.modules[module].parent?)
            } else {
                self.find(module, name, depth)
                    .unwrap_or(Target::ItemOf(module))
            };
            rest = after;
        }
        Some(start)
    }

    /// What a name means in a module: a module in it, an item, or what was imported.
    fn find(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        let here = &self.modules[module];
        if let Some(child) = here.children.get(name) {
            return Some(Target::Module(*child));
        }
        if here.items.contains(name) {
            return Some(Target::ItemOf(module));
        }
        let named = |import: &&Use| import.name.as_deref() == Some(name);
        if let Some(import) = here.uses.iter().find(named) {
            return self.resolve(module, &import.path.segments, depth + 1);
        }
        let globs = here.uses.iter().filter(|import| import.name.is_none());
        globs
            .filter_map(|import| self.resolve(module, &import.path.segments, depth + 1))
            .find_map(|target| match target {
                Target::Module(inner) if inner != module => self.find(inner, name, depth + 1),
                Target::Module(_) | Target::ItemOf(_) => None,
            })
    }
}

/// Every name of a `use`, with its path.
fn flatten(tree: &UseTree, before: &[String], each: &mut impl FnMut(Path, Option<String>)) {
    let mut segments = before.to_vec();
    match tree {
        UseTree::Path(path) => {
            segments.push(path.ident.to_string());
            flatten(&path.tree, &segments, each);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, each);
            }
        }
        UseTree::Name(name) => {
            if name.ident != "self" {
                segments.push(name.ident.to_string());
            }
            let known_as = segments.last().cloned();
            let line = name.ident.span().start().line;
            each(Path { segments, line }, known_as);
        }
        UseTree::Rename(name) => {
            if name.ident != "self" {
                segments.push(name.ident.to_string());
            }
            let line = name.ident.span().start().line;
            each(Path { segments, line }, Some(name.rename.to_string()));
        }
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            each(Path { segments, line }, None);
        }
    }
}

/// The paths and names in the code of a module.
#[derive(Default)]
struct Code {
    /// Those of two names or more, which may lead to other files.
    paths: Vec<Path>,
    /// First names of paths.
    names: HashSet<String>,
}

impl Code {
    fn add(&mut self, segments: Vec<String>, line: usize) {
        self.names.insert(segments[0].clone());
        if segments.len() > 1 {
            self.paths.push(Path { segments, line });
        }
    }

    /// Paths in the tokens of a macro, which nobody has parsed.
    fn add_tokens(&mut self, tokens: TokenStream) {
        // A path, and whether the next name goes on with it.
        let mut path: Option<(Vec<String>, usize)> = None;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let name = ident.to_string();
                    match &mut path {
                        Some((segments, _)) if colons == 2 => segments.push(name),
                        _ => {
                            let last = path.replace((vec![name], line));
                            if let Some((segments, line)) = last {
                                self.add(segments, line);
                            }
                        }
                    }
                }
                token => {
                    if let Some((segments, line)) = path.take() {
                        self.add(segments, line);
                    }
                    if let TokenTree::Group(group) = token {
                        self.add_tokens(group.stream());
                    }
                }
            }
            colons = 0;
        }
        if let Some((segments, line)) = path {
            self.add(segments, line);
        }
    }
}

impl<'ast> Visit<'ast> for Code {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let line = path.segments[0].ident.span().start().line;
            let segments = path.segments.iter();
            self.add(segments.map(|part| part.ident.to_string()).collect(), line);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            flatten(&item.tree, &[], &mut |path, _| self.paths.push(path));
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    // Neither names anything that is needed.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        list.path.is_ident("cfg") && list.tokens.to_string() == "test"
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item defines.
fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
