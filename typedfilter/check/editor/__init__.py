"""What an editor is told while somebody types: mistakes, shapes, and edits that mend."""
