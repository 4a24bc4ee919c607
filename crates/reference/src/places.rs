//! Where a reference's features are in the columns of some rows. It must not know what is counted there.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Kind, Role, Schema};

use crate::reference::{FeatureReference, Reference, Shape};

/// Where the reference's features are in a schema, and the places of their categories.
#[derive(Clone, Debug)]
pub struct Places {
    features: Vec<Option<Place>>,
    /// Columns of the reference's empty fields.
    empty: Vec<Option<usize>>,
    /// The column of event times.
    time: Option<usize>,
}

/// A column, and the places of its categories.
pub(crate) type Place = (usize, HashMap<Arc<str>, usize>);

impl Places {
    /// By name and kind; a feature that the schema lacks, or has as another kind, is nowhere: all its rows are null.
    #[must_use]
    pub fn new(reference: &Reference, schema: &Schema) -> Self {
        let place = |feature: &FeatureReference| {
            let index = schema.index_of(&feature.field.name)?;
            let kind = schema.fields()[index].kind;
            let number = matches!(kind, Kind::Double | Kind::Int64 | Kind::Boolean);
            // All numbers are judged as doubles: JSON does not tell 3 from 3.0.
            let same_kind =
                kind == feature.field.kind || (number && matches!(feature.shape, Shape::Numeric { .. }));
            let known = match &feature.shape {
                Shape::Numeric { .. } => HashMap::new(),
                Shape::Categorical { categories, .. } => categories
                    .iter()
                    .enumerate()
                    .map(|(place, category)| (Arc::clone(category), place))
                    .collect(),
            };
            same_kind.then_some((index, known))
        };
        Self {
            features: reference.features.iter().map(place).collect(),
            empty: reference.empty_fields.iter().map(|field| schema.index_of(&field.name)).collect(),
            time: schema.index_of_role(Role::Timestamp),
        }
    }

    /// In the reference's order.
    pub(crate) fn found(&self) -> &[Option<Place>] {
        &self.features
    }

    /// The column of event times.
    pub(crate) fn time(&self) -> Option<usize> {
        self.time
    }

    /// Columns of the reference's empty fields, in its order.
    pub(crate) fn empty(&self) -> &[Option<usize>] {
        &self.empty
    }

    /// Whether the schema has an empty field of the reference, by its number.
    #[must_use]
    pub fn has_empty(&self, field: usize) -> bool {
        self.empty.get(field).is_some_and(Option::is_some)
    }

    /// Whether the schema has any of the reference's features.
    #[must_use]
    pub fn any(&self) -> bool {
        self.features.iter().any(Option::is_some)
    }

    /// The column of a feature of the reference, by its number.
    #[must_use]
    pub fn column(&self, feature: usize) -> Option<usize> {
        self.features.get(feature)?.as_ref().map(|place| place.0)
    }

    /// Whether the schema has a feature of the reference, by its number.
    #[must_use]
    pub fn has(&self, feature: usize) -> bool {
        self.features.get(feature).is_some_and(Option::is_some)
    }
}
