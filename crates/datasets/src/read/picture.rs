//! PNG and JPEG files.
use std::{io::Cursor, path::Path};

use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use super::Fault;

/// What a decoder may allocate for one image, whatever the file says about itself: 256 MiB.
const MAX_ALLOCATED: usize = 1 << 28;
/// The longest side of an image.
const MAX_SIDE: usize = 1 << 13;

/// The format of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG in its usual wrapping.
    Jpeg,
}

impl Format {
    /// What a file name promises.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            _ => None,
        }
    }

    /// What the first bytes are.
    fn of_content(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
        }
    }
}

/// A decoded image: pixel after pixel, row after row.
struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

/// Decodes a file whose image must be of shape `[channels, height, width]`, one channel for grey, three for colour, into its
/// planes.
///
/// # Errors
/// If the file is damaged, not in the format its name promises, or another kind of image.
pub fn decode(file: &Path, bytes: &[u8], [channels, height, width]: [usize; 3], into: &mut [u8]) -> Result<(), Fault> {
    let Some(format) = Format::of_content(bytes) else {
        return Err(Fault::at(file, 0, "is neither a PNG nor a JPEG file"));
    };
    if Some(format) != Format::of_name(&file.to_string_lossy()) {
        return Err(Fault::at(file, 0, format!("is a {} file by its content, but not by its name", format.name())));
    }
    let picture = match format {
        Format::Png => png(bytes),
        Format::Jpeg => jpeg(bytes),
    };
    let picture = picture.map_err(|what| Fault::new(file, what))?;
    if (picture.height, picture.width) != (height, width) {
        let (found_width, found_height) = (picture.width, picture.height);
        return Err(Fault::new(
            file,
            format!("is {found_width} by {found_height} pixels; expected {width} by {height}"),
        ));
    }
    if picture.channels != channels {
        let kind = |channels| match channels {
            1 => "grey".to_owned(),
            3 => "in colour".to_owned(),
            channels => format!("of {channels} values per pixel"),
        };
        return Err(Fault::new(file, format!("is {}; expected an image {}", kind(picture.channels), kind(channels))));
    }
    let plane = height * width;
    for (i, pixel) in picture.pixels.chunks_exact(channels).enumerate() {
        for (channel, value) in pixel.iter().enumerate() {
            into[channel * plane + i] = *value;
        }
    }
    Ok(())
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |error: png::DecodingError| format!("is damaged: {error}");
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: MAX_ALLOCATED });
    // Palettes become colours and single bits bytes; deeper values stay what they are and are refused below.
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let size = reader.output_buffer_size().filter(|size| *size <= MAX_ALLOCATED).ok_or("is too large")?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    if info.bit_depth != png::BitDepth::Eight {
        return Err(format!("has values of {} bits; expected 8", info.bit_depth as u8));
    }
    pixels.truncate(info.buffer_size());
    Ok(Picture {
        width: info.width as usize,
        height: info.height as usize,
        channels: info.color_type.samples(),
        pixels,
    })
}

fn jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| format!("is damaged: {error:?}");
    // Strict: a file that ends early is refused, not filled up with grey.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(MAX_SIDE).set_max_height(MAX_SIDE);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let (space, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(damaged)?;
    let info = decoder.info().ok_or("has no header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    if pixels.len() != width * height * channels {
        return Err(format!("gives {} values for {width} by {height} pixels of {channels}", pixels.len()));
    }
    Ok(Picture { width, height, channels, pixels })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read::testing::{patched, png};

    fn decoded(name: &str, bytes: &[u8], shape: [usize; 3]) -> Result<Vec<u8>, String> {
        let mut planes = vec![0; shape.iter().product()];
        decode(Path::new(name), bytes, shape, &mut planes).map(|()| planes).map_err(|fault| fault.to_string())
    }

    /// An 8 by 8 JPEG of one value, from its tables up: grey 128 + 8 · 1 / 8, since only the first coefficient, 1, is there,
    /// the step is 8 and the transform divides by 8.
    pub fn jpeg_of_one_value() -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        let mut segment = |marker: u8, content: &[u8]| {
            bytes.extend([0xff, marker, 0, content.len() as u8 + 2]);
            bytes.extend(content);
        };
        segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        segment(0xdb, &[&[0][..], &[8; 64]].concat());
        segment(0xc0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
        // Codes of two bits: 00 for a difference of one bit; of the other table 00 for the end of the block.
        segment(0xc4, &[&[0x00][..], &[0, 1], &[0; 14], &[1]].concat());
        segment(0xc4, &[&[0x10][..], &[0, 1], &[0; 14], &[0]].concat());
        segment(0xda, &[1, 1, 0, 0, 63, 0]);
        // 00, then the bit 1 for +1, then 00, then ones to fill the byte.
        bytes.extend([0b0010_0111, 0xff, 0xd9]);
        bytes
    }

    #[test]
    fn planes_come_out_channel_after_channel() {
        let planes: Vec<u8> = (0..12).collect();
        assert_eq!(decoded("a.png", &png([3, 2, 2], &planes), [3, 2, 2]).unwrap(), planes);
        assert_eq!(decoded("a.PNG", &png([1, 3, 4], &planes), [1, 3, 4]).unwrap(), planes);
        assert_eq!(decoded("a.jpeg", &jpeg_of_one_value(), [1, 8, 8]).unwrap(), [129; 64]);
    }

    #[test]
    fn files_that_are_something_else_are_refused() {
        let grey = png([1, 2, 2], &[1, 2, 3, 4]);
        let colour = png([3, 2, 2], &[7; 12]);
        let jpeg = jpeg_of_one_value();
        for (name, bytes, expected) in [
            ("a.png", b"GIF89a".to_vec(), "a.png: byte 0: is neither a PNG nor a JPEG file"),
            ("a.png", vec![], "a.png: byte 0: is neither a PNG nor a JPEG file"),
            ("a.jpg", grey.clone(), "a.jpg: byte 0: is a PNG file by its content, but not by its name"),
            ("a.png", jpeg.clone(), "a.png: byte 0: is a JPEG file by its content, but not by its name"),
            ("a.png", colour, "a.png: is in colour; expected an image grey"),
            ("a.png", png([1, 2, 3], &[0; 6]), "a.png: is 3 by 2 pixels; expected 2 by 2"),
            ("a.png", grey[..grey.len() - 20].to_vec(), "a.png: is damaged"),
            ("a.png", patched(&grey, grey.len() - 20, &[0x55]), "a.png: is damaged"),
            ("a.jpg", jpeg[..30].to_vec(), "a.jpg: is damaged"),
            ("a.jpg", jpeg, "a.jpg: is 8 by 8 pixels; expected 2 by 2"),
        ] {
            let found = decoded(name, &bytes, [1, 2, 2]).unwrap_err();
            assert!(found.contains(expected), "{found}\nnot: {expected}");
        }
    }

    proptest! {
        #[test]
        fn damaged_files_give_an_answer(
            noise in proptest::collection::vec((0usize..400, any::<u8>()), 1..8), cut in 0usize..400, is_png: bool,
        ) {
            let (name, mut bytes, shape) = if is_png {
                ("a.png", png([3, 4, 5], &(0..60).collect::<Vec<u8>>()), [3, 4, 5])
            } else {
                ("a.jpg", jpeg_of_one_value(), [1, 8, 8])
            };
            for (at, byte) in noise {
                // Behind the first bytes, which tell the formats apart.
                let at = 8 + at % (bytes.len() - 8);
                bytes[at] = byte;
            }
            if cut < bytes.len() {
                bytes.truncate(cut);
            }
            let _ = decoded(name, &bytes, shape);
        }
    }
}
