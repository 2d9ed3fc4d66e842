//! Whether a written command exists with its options, for what is not run.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use testing::TempProject;

use crate::docs::{COMMANDS, mentioned};
use crate::support::{run_in, words};

/// Help texts by command.
static HELP: LazyLock<Mutex<HashMap<&'static str, String>>> = LazyLock::new(Mutex::default);

/// Every line of a block that is a command of ours.
pub(super) fn check_all(block: &str) -> Result<(), String> {
    let joined = block.replace("\\\n", " ");
    joined
        .lines()
        .try_for_each(|line| check(line.trim().trim_start_matches("$ ")))
}

/// A command line; one of another program is not looked at.
pub(super) fn check(line: &str) -> Result<(), String> {
    let Some(rest) = line.strip_prefix("flowmill ") else {
        return Ok(());
    };
    let rest = rest
        .split(['#', '|', ';', '&', '<', '>'])
        .next()
        .unwrap_or_default();
    let given = words(rest);
    let Some(first) = given.first().filter(|word| is_name(word)) else {
        return Ok(());
    };
    let with_verb = given
        .get(1)
        .map(|verb| format!("{first} {verb}"))
        .filter(|command| COMMANDS.contains(&command.as_str()));
    let command = with_verb.as_deref().unwrap_or(first);
    let Some(command) = COMMANDS.iter().find(|known| **known == command) else {
        return Err(format!("`flowmill {command}` is no command"));
    };
    let help = help(command);
    let options = mentioned(&help, |word| word.starts_with('-'));
    for option in given
        .iter()
        .filter(|word| word.starts_with('-') && word.len() > 1)
    {
        let name = option.split('=').next().unwrap_or_default();
        let name =
            name.trim_matches(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        if name.len() > 1 && !name.contains('…') && !options.contains(name) {
            return Err(format!("`flowmill {command}` knows no `{name}`"));
        }
    }
    Ok(())
}

fn help(command: &'static str) -> String {
    let mut known = HELP.lock().expect("no test panics with it");
    let text = known.entry(command).or_insert_with(|| {
        let project = TempProject::new();
        run_in(project.root(), words(&format!("{command} --help"))).stdout
    });
    text.clone()
}

fn is_name(word: &str) -> bool {
    word.chars().all(|letter| letter.is_ascii_lowercase())
}
