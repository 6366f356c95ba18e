"""How ``ct-lesions`` is made."""
