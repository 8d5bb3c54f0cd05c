//! The structure of a document (headings, tables, cells), for screen readers and for copying: tagged PDF.

use pdf_writer::types::StructRole;

use super::scene::ElementId;

/// What an element is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Role {
    Document,
    /// The heading of the document.
    Title,
    /// The heading of a table.
    Heading,
    Paragraph,
    Table,
    Row,
    HeaderCell,
    Cell,
    /// A chart, with what it shows in words.
    Figure(String),
}

/// A part of an element: another element, or numbered content on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Element(ElementId),
    Content { page: usize, number: i32 },
}

/// An element of the structure.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) role: Role,
    pub(super) parent: Option<ElementId>,
    pub(super) children: Vec<Child>,
}

/// Every element, the document first.
pub(super) struct Structure {
    pub(super) elements: Vec<Element>,
}

impl Role {
    /// Its name in PDF.
    pub(super) fn in_pdf(&self) -> StructRole {
        match self {
            Self::Document => StructRole::Document,
            Self::Title => StructRole::H1,
            Self::Heading => StructRole::H2,
            Self::Paragraph => StructRole::P,
            Self::Table => StructRole::Table,
            Self::Row => StructRole::TR,
            Self::HeaderCell => StructRole::TH,
            Self::Cell => StructRole::TD,
            Self::Figure(_) => StructRole::Figure,
        }
    }
}

impl Structure {
    pub(super) const DOCUMENT: ElementId = ElementId(0);

    pub(super) fn new() -> Self {
        Self { elements: vec![Element { role: Role::Document, parent: None, children: Vec::new() }] }
    }

    /// Adds an element at the end of another.
    pub(super) fn add(&mut self, parent: ElementId, role: Role) -> ElementId {
        let id = ElementId(self.elements.len());
        self.elements.push(Element { role, parent: Some(parent), children: Vec::new() });
        self.elements[parent.0].children.push(Child::Element(id));
        id
    }

    /// Records where an element is placed.
    pub(super) fn place(&mut self, element: ElementId, page: usize, number: i32) {
        self.elements[element.0].children.push(Child::Content { page, number });
    }
}
