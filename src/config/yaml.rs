//! A YAML file as a tree that keeps what other readers throw away: repeated keys and line numbers.
//!
//! The Milvus Operator writes the key `endpoints:` once per endpoint, which a strict reader refuses. Nodes live in one
//! list and an alias is the number of its node, so neither a bomb of aliases nor a long chain of them costs anything.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::input_files;
use super::source::quoted;

mod lookup;

/// A ConfigMap cannot be larger either.
const MAX_BYTES: u64 = 1 << 20;
/// Milvus's own file has four levels.
const MAX_DEPTH: usize = 64;

/// One YAML document.
pub struct Document {
    file: String,
    nodes: Vec<Node>,
    root: NodeId,
}

type NodeId = usize;

struct Node {
    line: usize,
    content: YamlContent,
}

enum YamlContent {
    Null,
    Scalar {
        text: String,
        /// Neither quoted nor tagged: `5` and `true` are then a number and a boolean.
        plain: bool,
    },
    List(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
}

impl Document {
    /// A document without any key: every lookup finds nothing.
    pub fn empty() -> Self {
        Self { file: String::new(), nodes: vec![Node { line: 1, content: YamlContent::Mapping(Vec::new()) }], root: 0 }
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// The file cannot be read or [`Document::parse`] refuses it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&input_files::shown(path), &input_files::read_text(path, MAX_BYTES)?)
    }

    /// As [`Document::read`], but nothing in the file will do: Milvus's user.yaml often holds comments alone.
    ///
    /// # Errors
    /// As [`Document::read`], an empty file aside.
    pub fn read_or_nothing(path: &Path) -> Result<Self> {
        let file = input_files::shown(path);
        let document = Self::parse_or_nothing(&file, &input_files::read_text(path, MAX_BYTES)?)?;
        Ok(document.unwrap_or_else(Self::empty))
    }

    /// Parses the text of a file; `file` is how errors call it.
    ///
    /// # Errors
    /// It is empty, no YAML, more than one document, nested too deeply, or no mapping.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        match Self::parse_or_nothing(file, text)? {
            Some(document) => Ok(document),
            None => bail!("{file}: is empty, expected keys like etcd.endpoints and cmd.type"),
        }
    }

    fn parse_or_nothing(file: &str, text: &str) -> Result<Option<Self>> {
        let mut builder = Builder::default();
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| syntax_error(file, text, &error))?;
            let line = span.start.line();
            match event {
                Event::DocumentStart(_) => documents += 1,
                // Generated files like to end in `---`: an empty document more is no harm.
                Event::Scalar(text, ScalarStyle::Plain, ..) if documents > 1 && text.is_empty() => {}
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                _ if documents > 1 => {
                    bail!("{file}:{line}: a second YAML document begins here, expected only one: take out the line ---")
                }
                event => builder.take(event, line).map_err(|reason| anyhow!("{file}:{line}: {reason}"))?,
            }
        }
        let Builder { nodes, root, .. } = builder;
        let Some(root) = root.filter(|&root| !matches!(nodes[root].content, YamlContent::Null)) else {
            return Ok(None);
        };
        let document = Self { file: file.to_owned(), nodes, root };
        // The text itself is not shown: somebody may have named the password file here.
        let found = match &document.node(root).content {
            YamlContent::Mapping(_) => return Ok(Some(document)),
            YamlContent::List(_) => "a list",
            YamlContent::Null | YamlContent::Scalar { .. } => "a text",
        };
        bail!("{file}:{}: found {found}, expected keys like etcd: and cmd:", document.node(root).line)
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }
}

/// Without the content: there are passwords in it.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Node {
    fn as_text(&self) -> Option<&str> {
        match &self.content {
            YamlContent::Scalar { text, .. } => Some(text),
            YamlContent::Null | YamlContent::List(_) | YamlContent::Mapping(_) => None,
        }
    }

    fn is_empty_text(&self) -> bool {
        self.as_text() == Some("")
    }

    /// What a person would call it.
    fn describe(&self) -> String {
        match &self.content {
            YamlContent::Null => "nothing".into(),
            YamlContent::List(_) => "a list".into(),
            YamlContent::Mapping(_) => "a mapping (key: value)".into(),
            YamlContent::Scalar { text, plain: true } if text.len() <= 20 && text.parse::<f64>().is_ok() => {
                format!("the number {text}")
            }
            YamlContent::Scalar { text, plain: true } if boolean(text).is_some() => format!("the boolean {text}"),
            YamlContent::Scalar { text, .. } => format!("the text {}", quoted(text)),
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A list or mapping whose end has not come yet.
struct Open {
    node: NodeId,
    is_mapping: bool,
    /// For a mapping: key, value, key, value.
    children: Vec<NodeId>,
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    root: Option<NodeId>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let content = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    YamlContent::Null
                } else {
                    YamlContent::Scalar { text: text.into_owned(), plain }
                };
                let node = self.add(Node { line, content }, anchor);
                self.attach(node);
            }
            Event::Alias(anchor) => {
                let Some(&node) = self.anchors.get(&anchor) else {
                    return Err("an alias (*name) without its anchor (&name): write the value out".into());
                };
                if self.open.iter().any(|open| open.node == node) {
                    return Err("an alias (*name) inside of what it stands for: write the value out".into());
                }
                self.attach(node);
            }
            Event::SequenceStart(anchor, _) => self.open(false, anchor, line)?,
            Event::MappingStart(anchor, _) => self.open(true, anchor, line)?,
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(node);
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    fn attach(&mut self, node: NodeId) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(node),
            None => self.root = Some(node),
        }
    }

    fn open(&mut self, is_mapping: bool, anchor: usize, line: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels: is it the right file?"));
        }
        let node = self.add(Node { line, content: YamlContent::Null }, anchor);
        self.open.push(Open { node, is_mapping, children: Vec::new() });
        Ok(())
    }

    fn close(&mut self) {
        let Some(Open { node, is_mapping, children }) = self.open.pop() else { return };
        self.nodes[node].content = if is_mapping {
            YamlContent::Mapping(children.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
        } else {
            YamlContent::List(children)
        };
        self.attach(node);
    }
}

fn syntax_error(file: &str, text: &str, error: &ScanError) -> anyhow::Error {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    // The parser may stop a line before or after the tab that it stumbles over.
    let has_tab = text.lines().take(line + 1).skip(line.saturating_sub(2)).any(|line| line.contains('\t'));
    let hint = if has_tab { "there is a tab, YAML wants blanks" } else { "correct the YAML there" };
    let reason = error.info().replace(char::is_control, "?");
    anyhow!("{file}:{line}: column {column}: {reason}: {hint}")
}

#[cfg(test)]
mod tests;
