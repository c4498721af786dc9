//! Batches of images.
use super::subset::Subset;
use crate::{Batch, BatchSource, Images, Input, Matrix, Order, Spec, Split, Target, read::Labelled};

/// The images of one split with their classes, in the split's order.
#[derive(Debug)]
struct Part {
    images: Images,
    classes: Vec<i32>,
}

/// Images in memory, a byte per value, in one piece per split.
#[derive(Debug)]
pub struct ImageSource {
    spec: Spec,
    train: Part,
    val: Part,
    test: Part,
}

impl ImageSource {
    /// The images that `subset` chooses of the published ones, of `[channels, height, width]`; `scale` is the mean and
    /// the standard deviation to take out of each channel.
    pub fn new(
        spec: Spec,
        shape: [usize; 3],
        scale: &(Vec<f32>, Vec<f32>),
        subset: &Subset,
        [train, test]: [Labelled; 2],
    ) -> Self {
        let part = |from: &Labelled, rows: &[usize]| Part {
            images: Images::new(from.images.gather(rows), shape, scale.0.clone(), scale.1.clone()),
            classes: rows
                .iter()
                .map(|&row| subset.relabel[usize::from(from.labels[row])].expect("its class was chosen"))
                .collect(),
        };
        Self {
            spec,
            train: part(&train, &subset.train),
            val: part(&train, &subset.val),
            test: part(&test, &subset.test),
        }
    }

    fn part(&self, split: Split) -> Option<&Part> {
        match split {
            Split::Train => Some(&self.train),
            Split::Val => Some(&self.val),
            Split::Test => Some(&self.test),
            Split::Length(_) => None,
        }
    }
}

impl BatchSource for ImageSource {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, split: Split) -> Option<usize> {
        Some(self.part(split).map_or(0, |part| part.classes.len()))
    }

    fn batch(&self, split: Split, order: &Order, step: u64) -> Batch {
        let Some(part) = self.part(split) else {
            let none = Matrix::new(Vec::new(), self.train.images.pixels().columns());
            let images = self.train.images.with_pixels(none);
            return Batch { input: Input::Image(images), target: Target::Classes(Vec::new()), rows: 0 };
        };
        let rows = order.rows(part.classes.len(), step);
        let classes = rows.iter().map(|&row| part.classes[row]).collect();
        let images = part.images.gather(&rows);
        Batch { input: Input::Image(images), target: Target::Classes(classes), rows: rows.len() }
    }
}
