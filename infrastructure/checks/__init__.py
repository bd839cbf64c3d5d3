"""What the doctor looks at, a file for each part of the system. Each check is a function that tells what it finds."""
