"""What danlu says, in the reader's language.

Messages stand in the code in English, as plain f-strings, and everything inside danlu works with them as they are. They are
translated once, where they leave it: by :func:`said` for a message, by :func:`page` for an HTML page, by :class:`Translated` for a
stream. A message is found again by the form that it was made with; the catalogues (``zh/*.po``) hold these forms with their translations.

What is the user's stays as it is: names that :func:`keep` was told (columns, categories, classes, runs), and elements of a page with
``translate="no"``.

The language is what :func:`use` or the environment variable ``DANLU_LANGUAGE`` says, else that of the locale; where there is no
catalogue for it, English. What other programs read (JSON, CSV, the files of a run) is the same in every language.
"""

from danlu import errors
from danlu.language.catalogue import Catalogue, Form, key, said
from danlu.language.chosen import LANGUAGES, current, use
from danlu.language.kept import keep
from danlu.language.pages import page
from danlu.language.streams import Translated

__all__ = ["LANGUAGES", "Catalogue", "Form", "Translated", "current", "keep", "key", "page", "said", "use"]

errors.translate = said  # they are said wherever they are printed, in a notebook too
