"""Pictures of predictions: contours over the images, and a contact sheet with the worst cases first."""
