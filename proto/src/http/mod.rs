//! (front page to be written with the module)
