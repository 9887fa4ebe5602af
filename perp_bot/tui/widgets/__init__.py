"""Line-API widgets of the dashboard."""
