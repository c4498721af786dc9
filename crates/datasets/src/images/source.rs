//! Batches of images.
use kiln_stream::Stream;

use super::{
    augment::{AugmentConfig, Canvas},
    corrupt::CorruptionConfig,
    subset::Subset,
};
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
    augmentation: Option<Augmentation>,
    /// Each with its evaluation set and the stream it draws from.
    corruptions: Vec<(Split, CorruptionConfig, Stream)>,
}

/// Random changes of training images, each with the stream it draws from.
#[derive(Debug)]
struct Augmentation {
    steps: Vec<(AugmentConfig, Stream)>,
    canvas: Canvas,
}

/// Draws of different rows of a step, and of different steps, never meet: a batch has fewer than 2²⁴ rows.
fn place(step: u64, row: usize) -> u64 {
    (step << 24) + row as u64
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
            augmentation: None,
            corruptions: Vec::new(),
        }
    }

    /// Changes the training images by augmentations, one after another. What is done to row `i` of step `t` follows from the
    /// stream, `t` and `i`.
    #[must_use]
    pub fn with_augmentations(mut self, list: &[AugmentConfig], canvas: Canvas, stream: &Stream) -> Self {
        let stream = stream.child("augment");
        let steps =
            list.iter().enumerate().map(|(i, augment)| (augment.clone(), stream.child(&i.to_string()))).collect();
        self.augmentation = (!list.is_empty()).then_some(Augmentation { steps, canvas });
        self
    }

    /// Evaluates corrupted test images too. What is done to image `i` follows from the stream and `i`.
    #[must_use]
    pub fn with_corruptions(mut self, list: &[CorruptionConfig], stream: &Stream) -> Self {
        let stream = stream.child("corrupt");
        for corruption in list {
            for &strength in corruption.strengths() {
                let set = Split::Shifted { kind: corruption.name(), strength };
                self.corruptions.push((set, corruption.clone(), stream.child(&set.to_string())));
            }
        }
        self
    }

    fn augmentation(&self, split: Split) -> Option<&Augmentation> {
        self.augmentation.as_ref().filter(|_| split == Split::Train)
    }

    fn part(&self, split: Split) -> Option<&Part> {
        match split {
            Split::Train => Some(&self.train),
            Split::Val => Some(&self.val),
            Split::Test => Some(&self.test),
            Split::Shifted { .. } => self.corruptions.iter().any(|(set, ..)| *set == split).then_some(&self.test),
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
        let mut pixels = part.images.pixels().gather(&rows);
        if let Some(Augmentation { steps, canvas }) = self.augmentation(split) {
            for row in 0..rows.len() {
                for (augment, stream) in steps {
                    augment.apply(pixels.row_mut(row), canvas, &mut stream.at(place(step, row)));
                }
            }
        }
        if let Some((Split::Shifted { strength, .. }, corruption, stream)) =
            self.corruptions.iter().find(|(set, ..)| *set == split)
        {
            let shape = part.images.shape();
            for (row, &image) in rows.iter().enumerate() {
                corruption.apply(pixels.row_mut(row), shape, *strength, &mut stream.at(image as u64));
            }
        }
        let images = part.images.with_pixels(pixels);
        Batch { input: Input::Image(images), target: Target::Classes(classes), rows: rows.len() }
    }

    fn eval_sets(&self) -> Vec<Split> {
        let plain = [Split::Val, Split::Test].into_iter().filter(|&split| self.len(split) != Some(0));
        plain.chain(self.corruptions.iter().map(|(set, ..)| *set)).collect()
    }

    fn repeats(&self, split: Split, order: &Order) -> bool {
        order.is_constant() && self.augmentation(split).is_none()
    }

    fn workers(&self) -> usize {
        // Taking rows together is quick; changing them costs about as much as a small network's step.
        if self.augmentation.is_some() { 2 } else { 1 }
    }
}
