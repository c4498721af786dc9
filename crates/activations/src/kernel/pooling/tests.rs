use super::Window;

#[test]
fn windows_lie_where_they_should() {
    let window = Window { kernel: 3, stride: 2, padding: 1 };
    // A side of 5: windows at −1..2, 1..4, 3..6.
    assert_eq!(window.places(5), 3);
    assert_eq!((window.inside(0, 5, 3), window.inside(1, 5, 3), window.inside(2, 5, 3)), (1..3, 0..3, 0..2));
    assert_eq!((window.cell(1, 0), window.cell(0, 1), window.cell(1, 2)), (1, 0, 3));
    // A side of 1: one window, of which only the middle is inside.
    assert_eq!((window.inside(0, 1, 1), window.inside(1, 1, 1), window.inside(2, 1, 1)), (1..1, 0..1, 0..0));
}

#[test]
#[should_panic(expected = "a window of 3 cells does not fit a side of 2 cells padded by 0")]
fn a_window_that_is_too_large_is_named() {
    Window { kernel: 3, stride: 1, padding: 0 }.places(2);
}
