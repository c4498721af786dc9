//! Every kind of fault that is planted is found, by `verify` and by reading, with the file's name.
use std::{fs, path::Path};

use super::{testing::*, *};
use crate::manifest::Manifest;

/// A data set as it should be, in one of its forms.
#[derive(Clone, Copy, Debug)]
enum Base {
    /// Plain IDX files without known checksums.
    Idx,
    /// The same files compressed.
    Gzip,
    /// Plain IDX files with known checksums.
    Summed,
    /// CIFAR records.
    Records,
    /// Folders of PNG files.
    Folders,
    /// The same in a zip file.
    Zip,
}

impl Base {
    /// Writes it below `dir` and returns its manifest.
    fn write(self, dir: &Path) -> Manifest {
        let folder = dir.join("tiny");
        let each = |change: &dyn Fn(&Path)| {
            for entry in fs::read_dir(&folder).unwrap() {
                change(&entry.unwrap().path());
            }
        };
        match self {
            Self::Idx => {
                write_tiny_idx(&folder);
                tiny_idx()
            }
            Self::Gzip => {
                write_tiny_idx(&folder);
                each(&|path| {
                    fs::write(format!("{}.gz", path.display()), gzip(&fs::read(path).unwrap())).unwrap();
                    fs::remove_file(path).unwrap();
                });
                tiny_idx()
            }
            Self::Summed => {
                write_tiny_idx(&folder);
                let mut manifest = tiny_idx();
                for file in &mut manifest.forms[0].files {
                    file.sha256 = crate::manifest::Checksum::of(&fs::read(folder.join(&file.path)).unwrap());
                }
                manifest
            }
            Self::Records => {
                write_tiny_cifar(&folder);
                tiny_cifar()
            }
            Self::Folders => {
                for (path, bytes) in tiny_folders() {
                    let path = folder.join("tiny").join(path);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
                tiny_cifar()
            }
            Self::Zip => {
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("tiny.zip"), zip_of(&tiny_folders())).unwrap();
                tiny_cifar()
            }
        }
    }
}

fn zip_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    zip(&files)
}

/// What a fault does to a file.
enum Plant {
    Remove,
    Write(Vec<u8>),
    Cut(usize),
    Append(Vec<u8>),
    /// Other bytes from this one on.
    Patch(usize, Vec<u8>),
    Rename(&'static str),
    Folder,
}

impl Plant {
    fn into_file(self, path: &Path) {
        let read = || fs::read(path).unwrap();
        match self {
            Self::Remove => fs::remove_file(path).unwrap(),
            Self::Write(bytes) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Self::Cut(bytes) => fs::write(path, &read()[..read().len() - bytes]).unwrap(),
            Self::Append(bytes) => fs::write(path, [read(), bytes].concat()).unwrap(),
            Self::Patch(at, bytes) => fs::write(path, patched(&read(), at, &bytes)).unwrap(),
            Self::Rename(name) => fs::rename(path, path.with_file_name(name)).unwrap(),
            Self::Folder => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
        }
    }
}

/// Base, file below the data set's folder, what is done to it, and a part of what is said of it.
fn table() -> Vec<(Base, &'static str, Plant, &'static str)> {
    use Base::{Folders, Gzip, Idx, Records, Summed, Zip};
    use Plant::{Append, Cut, Folder, Patch, Remove, Rename, Write};
    let images = |dims: &[usize]| Write(idx(dims, &vec![0; dims.iter().product()]));
    let grey = || png([1, 2, 2], &[0; 4]);
    let mut many = tiny_folders();
    many.push(("train/cat/9999.png".into(), png([3, 2, 2], &[0; 12])));
    let mut other = tiny_folders();
    other[2].0 = "train/fox/0002.png".into();
    let mut strange = tiny_folders();
    strange[0].1 = b"nonsense".to_vec();
    let mut outside = tiny_folders();
    outside[0].0 = "../train/cat/0000.png".into();
    vec![
        // Files that are not there or not files.
        (Idx, "train-images", Remove, "train-images: is missing"),
        (Gzip, "test-labels.gz", Remove, "test-labels: is missing"),
        (Records, "bin/two.bin", Remove, "bin/two.bin: is missing"),
        (Idx, "train-images", Folder, "train-images: is missing"),
        (Idx, "train-images", Rename("train-images.bak"), "train-images: is missing"),
        // Sizes.
        (Idx, "train-images", Cut(1), "train-images: byte 51: ends here, after 51 of 52 bytes"),
        (Idx, "train-images", Append(vec![0]), "train-images: byte 52: goes on after the 52 bytes it should have"),
        (Idx, "test-labels", Write(vec![]), "test-labels: byte 0: ends here, after 0 of 11 bytes"),
        (Records, "bin/one.bin", Cut(13), "bin/one.bin: byte 26: ends here, after 26 of 39 bytes"),
        (Records, "bin/test.bin", Append(vec![0; 13]), "bin/test.bin: byte 39: goes on after the 39 bytes"),
        // Headers.
        (Idx, "train-images", Patch(0, vec![1]), "train-images: byte 0: is no IDX file: begins with [01 00 08 03]"),
        (Idx, "train-images", Patch(2, vec![0x0c]), "train-images: byte 2: values of type 0x0c (32-bit integers)"),
        (
            Idx,
            "train-images",
            Patch(3, vec![2]),
            "train-images: byte 24: goes on after the values of dimensions [6, 2]",
        ),
        (Idx, "train-images", Patch(7, vec![5]), "goes on after the values of dimensions [5, 2, 3]"),
        (Idx, "train-images", Patch(7, vec![7]), "ends here; dimensions [7, 2, 3] after a header of 16 need 58 bytes"),
        (Idx, "train-images", Patch(4, vec![255; 12]), "hold more values than there can be"),
        (Idx, "train-images", Patch(11, vec![3, 0, 0, 0, 2]), "has images of dimensions [6, 3, 2]; expected [6, 2, 3]"),
        (Idx, "test-labels", images(&[1, 3]), "test-labels: byte 11: goes on after the 11 bytes"),
        // One file in the place of another.
        (Idx, "train-labels", images(&[3]), "train-labels: byte 11: ends here, after 11 of 14 bytes"),
        (Idx, "train-images", images(&[3, 2, 3]), "train-images: byte 34: ends here, after 34 of 52 bytes"),
        // Labels.
        (Idx, "train-labels", Patch(10, vec![3]), "train-labels: byte 10: label 3 of image 2 is none of the 3 classes"),
        (Idx, "test-labels", Patch(8, vec![255]), "test-labels: byte 8: label 255 of image 0 is none of the 3 classes"),
        (
            Records,
            "bin/two.bin",
            Patch(13, vec![9]),
            "bin/two.bin: byte 13: label 9 of image 1 is none of the 3 classes",
        ),
        // Contents, where a checksum is known.
        (Summed, "train-images", Patch(40, vec![99]), "train-images: is another file: the SHA-256 of its content is"),
        (Summed, "test-labels", Patch(8, vec![1]), "test-labels: is another file"),
        // Compression.
        (Gzip, "train-images.gz", Rename("train-images"), "train-images: byte 0: begins as a gzip file does"),
        (Gzip, "train-images.gz", Write(b"nonsense".to_vec()), "byte 0: is no gzip file: begins with [6e 6f]"),
        (Gzip, "train-images.gz", Write(vec![]), "byte 0: is no gzip file: begins with []"),
        (Gzip, "train-images.gz", Cut(9), "the gzip stream is damaged"),
        (Gzip, "train-images.gz", Append(b"more".to_vec()), "has more bytes after the end of its gzip stream"),
        (Gzip, "train-images.gz", Write(gzip(&[0; 53])), "byte 52: goes on after the 52 bytes"),
        (Gzip, "train-images.gz", Write(patched(&gzip(&[0; 52]), 15, &[0x55])), "train-images.gz: byte"),
        // Folders of images.
        (Folders, "tiny/train/cat/0000.png", Remove, "tiny: train/ holds 5 images; expected 6"),
        (Folders, "tiny/train/cat/9.png", Write(grey()), "tiny: train/ holds 7 images; expected 6"),
        (Folders, "tiny/test/eel/0008.png", Rename("8.txt"), "tiny/test/eel/8.txt: is no image by its name"),
        (Folders, "tiny/train/fox/1.png", Write(grey()), "\"fox\" is no class; known: cat, dog, eel"),
        (Folders, "tiny/train/1.png", Write(grey()), "tiny/train/1.png: stands in no folder of a class"),
        (
            Folders,
            "tiny/train/cat/0000.png",
            Write(b"GIF89a".to_vec()),
            "0000.png: byte 0: is neither a PNG nor a JPEG",
        ),
        (Folders, "tiny/train/cat/0000.png", Write(grey()), "0000.png: is grey; expected an image in colour"),
        (Folders, "tiny/train/cat/0000.png", Write(png([3, 2, 3], &[0; 18])), "is 3 by 2 pixels; expected 2 by 2"),
        (Folders, "tiny/train/cat/0000.png", Cut(20), "0000.png: is damaged"),
        (Folders, "tiny/train/cat/0000.png", Rename("0000.jpg"), "is a PNG file by its content, but not by its name"),
        (Folders, "tiny/train/cat/0000.png", Append(vec![0; 1 << 24]), "0000.png: has more than 16777216 bytes"),
        // Zip files.
        (Zip, "tiny.zip", Write(zip_of(&many)), "tiny.zip: train/ holds 7 images; expected 6"),
        (Zip, "tiny.zip", Write(zip_of(&other)), "tiny.zip/train/fox/0002.png: \"fox\" is no class"),
        (Zip, "tiny.zip", Write(zip_of(&strange)), "tiny.zip/train/cat/0000.png: byte 0: is neither a PNG nor"),
        (Zip, "tiny.zip", Write(zip_of(&outside)), "leads out of the archive"),
        (Zip, "tiny.zip", Cut(5), "ends before the end record of a zip file"),
        (Zip, "tiny.zip", Patch(60, vec![0x55]), "tiny.zip/train/cat/0000.png: byte 0: is damaged"),
        (Zip, "tiny.zip", Write(b"nonsense".to_vec()), "tiny.zip: byte 0: is no zip file"),
    ]
}

#[test]
fn sound_data_has_no_fault() {
    for base in [Base::Idx, Base::Gzip, Base::Summed, Base::Records, Base::Folders, Base::Zip] {
        let dir = tempfile::tempdir().unwrap();
        let manifest = base.write(dir.path());
        for file in verify(&manifest, dir.path()).unwrap() {
            assert_eq!(file.fault, None, "{base:?}");
            assert!(file.place.is_some() && file.by_checksum == matches!(base, Base::Summed));
        }
        assert!(read(&manifest, dir.path()).is_ok());
    }
}

#[test]
fn every_planted_fault_is_found_and_named() {
    assert!(table().len() >= 45);
    for (number, (base, file, plant, expected)) in table().into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = base.write(dir.path());
        plant.into_file(&dir.path().join("tiny").join(file));
        let checked = verify(&manifest, dir.path()).unwrap_or_else(|error| panic!("{number} {file}: {error}"));
        let faults: Vec<String> = checked.iter().filter_map(|file| Some(file.fault.as_ref()?.to_string())).collect();
        let [fault] = faults.as_slice() else { panic!("{number} {base:?} {file}: {faults:?}, expected {expected}") };
        assert!(fault.contains(expected), "{number} {base:?} {file}: {fault}\nexpected: {expected}");
        // What is found when it is looked for is refused when it is used.
        let error = read(&manifest, dir.path()).unwrap_err();
        let missing = matches!(error, ReadError::Missing { .. }) && expected.contains("is missing");
        assert!(missing || error.to_string() == *fault, "{number} {base:?} {file}: {error}\nexpected: {fault}");
    }
}

#[test]
fn several_faults_are_all_told() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Base::Idx.write(dir.path());
    Plant::Remove.into_file(&dir.path().join("tiny/train-labels"));
    Plant::Cut(2).into_file(&dir.path().join("tiny/test-images"));
    let faulty: Vec<_> = verify(&manifest, dir.path())
        .unwrap()
        .into_iter()
        .filter(|file| file.fault.is_some())
        .map(|f| f.path)
        .collect();
    assert_eq!(faulty, ["train-labels", "test-images"]);
}
