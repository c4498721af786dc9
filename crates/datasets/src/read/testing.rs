//! Small data sets written to disk, for the tests.
use std::{io::Write, path::Path};

use crate::manifest::Manifest;

/// An IDX file of unsigned bytes.
pub fn idx(dims: &[usize], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|size| bytes.extend((*size as u32).to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

/// Some bytes, gzip-compressed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip file of these entries, deflated where that is shorter.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        let deflated = encoder.finish().unwrap();
        let (method, packed) = if deflated.len() < content.len() { (8, deflated) } else { (0, content.to_vec()) };
        let mut crc = flate2::Crc::new();
        crc.update(content);
        // Version, flags, method, time, date, checksum, sizes, lengths of name and extra field.
        let mut common: Vec<u8> = [20u16, 0, method, 0, 33].into_iter().flat_map(u16::to_le_bytes).collect();
        for number in [crc.sum(), packed.len() as u32, content.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        common.extend([name.len() as u8, 0, 0, 0]);
        let offset = (bytes.len() as u32).to_le_bytes();
        bytes.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), &packed].concat());
        directory.extend([&b"PK\x01\x02\x14\x00"[..], &common, &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (start, size) = ((bytes.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let count = (entries.len() as u16).to_le_bytes();
    [
        bytes,
        directory,
        b"PK\x05\x06\0\0\0\0".to_vec(),
        [count, count].concat(),
        size.to_vec(),
        start.to_vec(),
        vec![0, 0],
    ]
    .concat()
}

/// Some bytes with others in place of those from byte `at` on.
pub fn patched(bytes: &[u8], at: usize, by: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + by.len()].copy_from_slice(by);
    bytes
}

/// A PNG file of an image of `[channels, height, width]`, channel after channel.
pub fn png([channels, height, width]: [usize; 3], planes: &[u8]) -> Vec<u8> {
    let plane = height * width;
    let pixels: Vec<u8> =
        (0..plane).flat_map(|i| (0..channels).map(move |channel| planes[channel * plane + i])).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    bytes
}

/// The manifest of a data set with three classes of grey images of 2 by 3, six to train and three to test, in IDX files.
pub fn tiny_idx() -> Manifest {
    let file = |path: &str, part: &str, bytes: usize| {
        format!("[[form.file]]\npath = \"{path}\"\npart = \"{part}\"\nbytes = {bytes}\nsha256 = \"unknown\"\n")
    };
    Manifest::parse(&format!(
        "{}[[form]]\nformat = \"idx\"\n{}{}{}{}",
        head("tiny", "[1, 2, 3]", "[0.5]"),
        file("train-images", "train_images", 16 + 36),
        file("train-labels", "train_labels", 8 + 6),
        file("test-images", "test_images", 16 + 18),
        file("test-labels", "test_labels", 8 + 3),
    ))
    .unwrap()
}

/// The manifest of a data set like [`tiny_idx`], with images of two by two in three channels, as CIFAR records or in folders.
pub fn tiny_cifar() -> Manifest {
    Manifest::parse(&format!(
        "{}[[form]]\nformat = \"cifar\"\nlabel_bytes = 1\n\
         [[form.file]]\npath = \"bin/one.bin\"\npart = \"train\"\nbytes = 39\nsha256 = \"unknown\"\n\
         [[form.file]]\npath = \"bin/two.bin\"\npart = \"train\"\nbytes = 39\nsha256 = \"unknown\"\n\
         [[form.file]]\npath = \"bin/test.bin\"\npart = \"test\"\nbytes = 39\nsha256 = \"unknown\"\n\
         [[form]]\nformat = \"image_folder\"\n\
         [[form.file]]\npath = \"tiny.zip\"\npart = \"folders\"\nsha256 = \"unknown\"\n\
         [[form]]\nformat = \"image_folder\"\n\
         [[form.file]]\npath = \"tiny\"\npart = \"folders\"\nsha256 = \"unknown\"\n",
        head("tiny", "[3, 2, 2]", "[0.5, 0.5, 0.5]"),
    ))
    .unwrap()
}

fn head(name: &str, shape: &str, half: &str) -> String {
    format!(
        "name = \"{name}\"\ntitle = \"Tiny\"\nabout = \"a\"\ncitation = \"c\"\nlicence = \"l\"\nhomepage = \"h\"\n\
         shape = {shape}\ntrain = 6\ntest = 3\nclasses = [\"cat\", \"dog\", \"eel\"]\nmean = {half}\nstd = {half}\n"
    )
}

/// Training image i of [`tiny_idx`] is filled with 10 i, test image i with 100 + 10 i; labels run 0, 1, 2, 0, …
pub fn write_tiny_idx(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let images =
        |count: usize, base: usize| -> Vec<u8> { (0..count).flat_map(|i| [(base + 10 * i) as u8; 6]).collect() };
    let labels = |count: usize| -> Vec<u8> { (0..count).map(|i| (i % 3) as u8).collect() };
    for (name, bytes) in [
        ("train-images", idx(&[6, 2, 3], &images(6, 0))),
        ("train-labels", idx(&[6], &labels(6))),
        ("test-images", idx(&[3, 2, 3], &images(3, 100))),
        ("test-labels", idx(&[3], &labels(3))),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// The three planes of image `i` of [`tiny_cifar`]: 12 different values.
pub fn tiny_planes(i: usize) -> Vec<u8> {
    (0..12).map(|k| (20 * i + k) as u8).collect()
}

/// Three images with labels 0, 1, 2.
pub fn write_tiny_cifar(folder: &Path) {
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    for (at, name) in ["one", "two", "test"].into_iter().enumerate() {
        let records = (0..3).flat_map(|i| [vec![i as u8], tiny_planes(3 * at + i)].concat()).collect::<Vec<u8>>();
        std::fs::write(folder.join(format!("bin/{name}.bin")), records).unwrap();
    }
}

/// The images of [`write_tiny_cifar`] as PNG files in folders.
pub fn tiny_folders() -> Vec<(String, Vec<u8>)> {
    let classes = ["cat", "dog", "eel"];
    (0..9)
        .map(|i| {
            let split = if i < 6 { "train" } else { "test" };
            (format!("{split}/{}/{i:04}.png", classes[i % 3]), png([3, 2, 2], &tiny_planes(i)))
        })
        .collect()
}
