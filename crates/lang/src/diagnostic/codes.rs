//! The table of diagnostic codes. A code is stable once released: it is never reused for another
//! fault. Families: `FM01` the file and its shape, `FM02` state and types, `FM03` nodes, `FM04`
//! templates and conditions, `FM05` edges and graph, `FM06` configuration, `FM07` what this version
//! does not execute.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal;)+) => {
        /// The codes by name, for the rules that report them.
        pub(crate) mod code {
            $($(#[doc = $doc])+ pub(crate) const $name: &str = $id;)+
        }

        /// Code and page.
        static PAGES: &[(&str, &str)] = &[
            $(($id, include_str!(concat!("codes/", $id, ".md"))),)+
        ];
    };
}

codes! {
    /// The name ends in none of the known extensions.
    EXTENSION = "FM0101";
    /// Not YAML, not JSON.
    SYNTAX = "FM0102";
    /// More text than is read.
    TOO_LARGE = "FM0103";
    /// Nested deeper than is read.
    TOO_DEEP = "FM0104";
    /// Aliases multiply into too much.
    TOO_MANY_VALUES = "FM0105";
    /// More than one document.
    SEVERAL_DOCUMENTS = "FM0106";
    /// The top is no mapping.
    NOT_A_MAPPING = "FM0107";
    /// A key twice.
    DUPLICATE_KEY = "FM0108";
    /// A tag the reader does not know.
    TAG = "FM0109";
    /// A key that is not text.
    KEY_NOT_TEXT = "FM0110";
    /// `<<` with something that cannot be merged.
    MERGE = "FM0111";
    /// A number that cannot be kept exactly.
    NUMBER = "FM0112";
    /// More findings than are listed.
    MORE_FINDINGS = "FM0113";
    /// A required key is missing.
    MISSING_KEY = "FM0120";
    /// A key the language does not know.
    UNKNOWN_KEY = "FM0121";
    /// The wrong kind of value.
    WRONG_TYPE = "FM0122";
    /// A number outside its range.
    OUT_OF_RANGE = "FM0123";
    /// Not one of the allowed words.
    BAD_VALUE = "FM0124";
    /// Empty where something is needed.
    EMPTY = "FM0125";
    /// A key without effect.
    IGNORED_KEY = "FM0126";
    /// A schema version this language is not.
    SCHEMA_VERSION = "FM0127";
    /// A workflow's name that cannot be part of an address.
    NAME_IN_ADDRESS = "FM0128";

    /// Not a type.
    BAD_TYPE = "FM0201";
    /// A default that does not fit.
    DEFAULT_TYPE = "FM0202";
    /// Required, and yet a default.
    REQUIRED_WITH_DEFAULT = "FM0203";
    /// An unusable field name.
    FIELD_NAME = "FM0204";
    /// A constraint for other types.
    CONSTRAINT_KIND = "FM0205";
    /// A constraint that cannot be met or read.
    BAD_CONSTRAINT = "FM0206";
    /// A default that breaks the field's own constraints or checks.
    DEFAULT_CONSTRAINT = "FM0207";
    /// A schema on a field that is no object.
    NEEDLESS_SCHEMA = "FM0208";
    /// A sensitive value written into the file.
    SENSITIVE_IN_FILE = "FM0209";

    /// Not an identifier.
    NODE_ID = "FM0301";
    /// START and END are taken.
    RESERVED_ID = "FM0302";
    /// A node id twice.
    DUPLICATE_NODE = "FM0303";
    /// An output that is not a state field.
    UNKNOWN_OUTPUT = "FM0304";
    /// An output the schema does not declare.
    OUTPUT_NOT_IN_SCHEMA = "FM0305";
    /// A schema field that is not written anywhere.
    SCHEMA_NOT_IN_OUTPUTS = "FM0306";
    /// A simple output needs exactly one name.
    ONE_OUTPUT = "FM0307";
    /// The output's type is not the state field's.
    OUTPUT_TYPE = "FM0308";
    /// A name twice in outputs or schema.
    DUPLICATE_OUTPUT = "FM0309";
    /// Not a tool.
    UNKNOWN_TOOL = "FM0310";
    /// A tool offered twice.
    TOOL_TWICE = "FM0311";
    /// A tool entry that names nothing, or several things.
    TOOL_ENTRY = "FM0312";
    /// An MCP server that is not declared.
    UNKNOWN_SERVER = "FM0313";
    /// An option that a tool does not take, or cannot be read.
    TOOL_OPTION = "FM0314";
    /// A first call of a tool that is not offered.
    TOOL_CHOICE = "FM0315";
    /// A name that no model can be told.
    TOOL_NAME = "FM0316";
    /// Arguments that a tool does not take, or lacks.
    TOOL_ARGUMENT = "FM0317";
    /// A key that is not in a tool's result.
    RESULT_KEY = "FM0318";
    /// A key that means nothing for this kind of node.
    NODE_KIND = "FM0319";

    /// A placeholder or condition names nothing known.
    UNKNOWN_NAME = "FM0401";
    /// A format specification in a placeholder.
    FORMAT_SPEC = "FM0402";
    /// A condition that cannot be read.
    CONDITION_SYNTAX = "FM0403";
    /// A condition that compares what can never be compared.
    CONDITION_TYPE = "FM0404";
    /// A dot into a value that has nothing inside.
    NO_INNER_NAMES = "FM0405";
    /// A comparison that always comes out the same.
    FOREGONE = "FM0406";
    /// A bare word that is a field's name, but taken for text.
    BARE_WORD = "FM0407";
    /// A placeholder of another template language.
    FOREIGN_PLACEHOLDER = "FM0408";

    /// An edge to or from a node that does not exist.
    UNKNOWN_NODE = "FM0501";
    /// Into START or out of END.
    BAD_ENDPOINT = "FM0502";
    /// Not exactly one kind of edge.
    EDGE_KIND = "FM0503";
    /// Routes without a default.
    NO_DEFAULT = "FM0504";
    /// Routes with two defaults.
    TWO_DEFAULTS = "FM0505";
    /// Two edges of a kind of which a node has one.
    SECOND_EDGE = "FM0506";
    /// START may only lead on.
    START_BRANCHES = "FM0507";
    /// A node nothing leads to.
    UNREACHABLE = "FM0508";
    /// A node that never ends.
    NO_END = "FM0509";
    /// A cycle nothing can leave.
    ENDLESS_CYCLE = "FM0510";
    /// A loop or parallel field that is not a state field.
    UNKNOWN_FIELD = "FM0511";
    /// A loop or parallel field of the wrong type.
    FIELD_TYPE = "FM0512";
    /// A join without branches to join, or the reverse.
    JOIN = "FM0513";
    /// The same edge twice.
    DUPLICATE_EDGE = "FM0514";
    /// Nothing leaves START.
    NO_START = "FM0515";
    /// A condition where none is read.
    STRAY_CONDITION = "FM0516";
    /// A fan-out over a list of any length.
    FAN_OUT_BOUND = "FM0517";

    /// A setting that changes nothing.
    NO_EFFECT = "FM0601";
    /// A gate that can never pass or never fail.
    GATE = "FM0602";
    /// `log_prompts` or `log_artifacts` against a stricter `capture`.
    CAPTURE = "FM0603";
    /// Not the name of an environment variable.
    NOT_A_VARIABLE = "FM0604";
    /// An MCP server that cannot be reached as written.
    MCP_SERVER = "FM0605";
    /// A header that cannot be sent.
    HEADER = "FM0606";
    /// A secret written into the file.
    SECRET_IN_FILE = "FM0607";
    /// A fallback model that is no other model.
    FALLBACK = "FM0608";

    /// Checked, but not executed by this version.
    NOT_SUPPORTED = "FM0701";
}

/// The page that explains a code, in Markdown; letter case does not matter.
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES
        .iter()
        .find(|(id, _)| id.eq_ignore_ascii_case(code))
        .map(|&(_, page)| page)
}

/// Every code, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|&(id, _)| id)
}
