"""What requests and answers look like, and how they become domain objects and back."""
