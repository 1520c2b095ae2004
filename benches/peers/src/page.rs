//! The page's generated sections.

use std::{
    fs,
    io::{self, ErrorKind::InvalidData},
    path::{Path, PathBuf},
};

/// The results of one run: printed at once and, if a directory is given, written there at the end.
///
/// A section replaces what stands in the directory's `README.md` between the lines `<!-- begin NAME -->` and
/// `<!-- end NAME -->`. A chart becomes the file `charts/NAME.svg`.
#[derive(Debug)]
pub struct Page {
    directory: Option<PathBuf>,
    sections: Vec<(&'static str, String)>,
    charts: Vec<(&'static str, String)>,
}

impl Page {
    /// An empty page for this directory.
    ///
    /// # Errors
    ///
    /// Fails if the directory has no `README.md`, so that this is known before anything is measured.
    pub fn new(directory: Option<PathBuf>) -> io::Result<Self> {
        if let Some(directory) = &directory {
            read(directory)?;
        }
        Ok(Self {
            directory,
            sections: Vec::new(),
            charts: Vec::new(),
        })
    }

    /// Prints a section under its title, and keeps its text for the page.
    pub fn section(&mut self, name: &'static str, title: &str, text: impl ToString) {
        let text = text.to_string();
        println!("\n## {title}\n\n{}", text.trim_end());
        self.sections.push((name, text));
    }

    /// Keeps a chart for the page.
    pub fn chart(&mut self, name: &'static str, svg: String) {
        self.charts.push((name, svg));
    }

    /// Writes all of it into the directory, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if `README.md` lacks a section, or if a file cannot be written.
    pub fn write(self) -> io::Result<()> {
        let Some(directory) = self.directory else {
            return Ok(());
        };
        let mut readme = read(&directory)?;
        for (name, text) in &self.sections {
            readme = replace(&readme, name, text)
                .ok_or_else(|| io::Error::new(InvalidData, format!("README.md has no section `{name}`")))?;
        }
        fs::write(directory.join("README.md"), readme)?;
        let charts = directory.join("charts");
        fs::create_dir_all(&charts)?;
        for (name, svg) in &self.charts {
            fs::write(charts.join(name).with_extension("svg"), svg)?;
        }
        Ok(())
    }
}

fn read(directory: &Path) -> io::Result<String> {
    let path = directory.join("README.md");
    fs::read_to_string(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// The page with another text in this section.
fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- begin {name} -->\n"))?;
    let (_, after) = rest.split_once(&format!("<!-- end {name} -->\n"))?;
    Some(format!(
        "{before}<!-- begin {name} -->\n{}\n<!-- end {name} -->\n{after}",
        text.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn a_section_replaces_the_text_between_its_marks() {
        let page = "above\n<!-- begin a -->\nold\n<!-- end a -->\nbelow\n";
        let new = "above\n<!-- begin a -->\nnew\n<!-- end a -->\nbelow\n";
        assert_eq!(replace(page, "a", "new\n").as_deref(), Some(new));
        assert_eq!(replace(new, "a", "new").as_deref(), Some(new));
        assert_eq!(replace(page, "b", "new"), None);
    }
}
