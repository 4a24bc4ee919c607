//! Which columns matter, and what is declared or known of them. It must not know rows.

use std::sync::Arc;

use acgs_columns::{Column, Role, Schema};
use acgs_reference::{
    LossBaseline, ModelKind, answers, outputs::Outputs, said::SaidLosses, season::Season, slices::SliceFields,
};

/// The columns of the roles that matter here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    pub(crate) outputs: Outputs,
    /// Fields by whose values losses are told.
    pub(crate) slices: SliceFields,
    pub(crate) label: Option<usize>,
    pub(crate) latency: Option<usize>,
    pub(crate) error: Option<usize>,
    pub(crate) time: Option<usize>,
    /// What losses vary with.
    pub(crate) season: Season,
    /// The label that says yes, where it was declared.
    pub(crate) positive: Option<Arc<str>>,
    /// What predictions were declared to be.
    declared: Option<ModelKind>,
    /// What came of what the model said, in the reference, and the kind of model.
    pub(crate) said: Option<(Arc<SaidLosses>, ModelKind)>,
}

impl Roles {
    /// By role.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self {
            outputs: Outputs::of(schema),
            slices: SliceFields::of(schema),
            label: schema.index_of_role(Role::Label),
            latency: schema.index_of_role(Role::Latency),
            error: schema.index_of_role(Role::Error),
            time: schema.index_of_role(Role::Timestamp),
            season: Season::None,
            positive: schema
                .index_of_role(Role::Label)
                .and_then(|label| schema.fields()[label].positive.clone()),
            declared: answers::declared_kind(schema),
            said: None,
        }
    }

    /// What a reference declared, where the rows do not: the label that says yes, and what share of labels predictions mean to be above.
    #[must_use]
    pub fn or_declared(mut self, positive: Option<Arc<str>>, quantile: Option<f64>) -> Self {
        self.positive = self.positive.or(positive);
        self.outputs.quantile = self.outputs.quantile.or(quantile);
        self
    }

    /// Whether losses beside that baseline mean the same: of numbers as another quantile they do not.
    #[must_use]
    pub fn same_quantile(&self, baseline: &LossBaseline) -> bool {
        baseline.kind != ModelKind::Regression || self.outputs.quantile == baseline.quantile
    }

    /// The share of labels that predictions mean to be above.
    #[must_use]
    pub fn quantile(&self) -> Option<f64> {
        self.outputs.quantile
    }

    /// What predictions were declared to be.
    #[must_use]
    pub fn declared(&self) -> Option<ModelKind> {
        self.declared
    }

    /// The label that says yes, where it was declared.
    #[must_use]
    pub fn positive(&self) -> Option<&Arc<str>> {
        self.positive.as_ref()
    }

    /// Where a reference of such a model knows what came of what it said.
    #[must_use]
    pub fn with_said(self, kind: ModelKind, said: Option<SaidLosses>) -> Self {
        Self { said: said.map(|said| (Arc::new(said), kind)), ..self }
    }

    /// What came of what the model said.
    #[must_use]
    pub fn said(&self) -> Option<&SaidLosses> {
        self.said.as_ref().map(|(said, _)| &**said)
    }

    /// What came of what the model said, for what kind of model, and where it says it: in its score or prediction.
    pub(crate) fn said_column<'a>(
        &self,
        (score, prediction): (Option<&'a Column>, Option<&'a Column>),
    ) -> Option<(&SaidLosses, ModelKind, &'a Column)> {
        let (said, kind) = self.said.as_ref()?;
        let column = if *kind == ModelKind::Binary { score } else { prediction };
        Some((said, *kind, column?))
    }

    /// Cells of what the model says.
    #[must_use]
    pub fn said_cells(&self) -> usize {
        self.said().map_or(0, |said| said.cells.len())
    }

    /// Where losses vary with a season.
    #[must_use]
    pub fn in_season(self, season: Season) -> Self {
        Self { season, ..self }
    }

    /// Phases that are counted.
    #[must_use]
    pub fn phases(&self) -> usize {
        self.season.kept_phases()
    }

    /// Whether there is anything to judge.
    #[must_use]
    pub fn any(&self) -> bool {
        let with_label = self.label.is_some() && !self.outputs.is_empty();
        self.latency.is_some() || self.error.is_some() || with_label
    }

    /// Whether there is a latency, and an error field.
    #[must_use]
    pub fn service(&self) -> (bool, bool) {
        (self.latency.is_some(), self.error.is_some())
    }
}
