//! From SVG text to PNG bytes, with a font of our own so that labels look the same on every machine.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Options, Tree, fontdb};

/// Longest side of a picture in pixels.
const MOST_PIXELS: f32 = 16_384.0;

const FAMILY: &str = "DejaVu Sans";

/// The renderer knows no font by itself, and those of the machine would make pictures differ.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
});

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The text is not an SVG document.
    #[error("the figure is not valid SVG: {0}")]
    Svg(#[from] usvg::Error),
    /// The scale is not a positive number, or makes a picture too large or too small to draw.
    #[error("scale {scale} would make a picture of {width} × {height} pixels; each side must be 1 to 16384")]
    Size {
        /// The scale as given.
        scale: f32,
        /// Width times scale.
        width: f32,
        /// Height times scale.
        height: f32,
    },
    /// The encoder failed.
    #[error("the picture could not be encoded as PNG: {0}")]
    Encode(String),
}

/// Renders an SVG document as a PNG picture, `scale` pixels for each of its own (2 for sharp screens).
///
/// # Errors
/// If the text is no SVG, if a side would have less than 1 or more than 16384 pixels, or if encoding fails.
pub fn svg_to_png(svg: &str, scale: f32) -> Result<Vec<u8>, PngError> {
    let options = Options { font_family: FAMILY.to_owned(), fontdb: Arc::clone(&FONTS), ..Options::default() };
    let tree = Tree::from_str(svg, &options)?;
    let (width, height) = (tree.size().width() * scale, tree.size().height() * scale);
    let fits = |side: f32| (1.0..=MOST_PIXELS).contains(&side);
    let pixmap =
        if fits(width) && fits(height) { Pixmap::new(width.round() as u32, height.round() as u32) } else { None };
    let mut pixmap = pixmap.ok_or(PngError::Size { scale, width, height })?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| PngError::Encode(error.to_string()))
}
