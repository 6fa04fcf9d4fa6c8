//! Lines under lines, drawn as a tree.

/// A line, further lines of its own, and what is below it.
#[derive(Debug)]
pub(super) struct Node {
    lines: Vec<String>,
    below: Vec<Node>,
}

impl Node {
    /// Of one line, which is safe to print.
    pub(super) fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], below: Vec::new() }
    }

    /// A further line of its own, which is safe to print.
    pub(super) fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// What is below it, at the end.
    pub(super) fn push(&mut self, node: Node) {
        self.below.push(node);
    }

    /// The tree, line by line.
    pub(super) fn draw(&self) -> Vec<String> {
        let mut drawn = Vec::new();
        self.draw_below("", "", &mut drawn);
        drawn
    }

    /// `first` stands before the first line, `rest` before all others.
    fn draw_below(&self, first: &str, rest: &str, drawn: &mut Vec<String>) {
        let own = if self.below.is_empty() { "  " } else { "│ " };
        for (at, line) in self.lines.iter().enumerate() {
            drawn.push(match at {
                0 => format!("{first}{line}"),
                _ => format!("{rest}{own}{line}"),
            });
        }
        let last = self.below.len().saturating_sub(1);
        for (at, node) in self.below.iter().enumerate() {
            let (branch, trunk) =
                if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            node.draw_below(&format!("{rest}{branch}"), &format!("{rest}{trunk}"), drawn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hang_below_their_own_branch() {
        let mut leaf = Node::new("leaf");
        leaf.line("its line");
        let mut branch = Node::new("branch");
        branch.line("its line");
        branch.push(leaf);
        let mut root = Node::new("root");
        root.line("its line");
        root.push(branch);
        root.push(Node::new("last"));
        let drawn = root.draw();
        assert_eq!(
            drawn.iter().map(|line| line.trim_end()).collect::<Vec<_>>(),
            [
                "root",
                "│ its line",
                "├─ branch",
                "│  │ its line",
                "│  └─ leaf",
                "│       its line",
                "└─ last",
            ]
        );
    }
}
