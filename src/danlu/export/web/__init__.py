"""A trained model as one page that predicts in a browser."""

from danlu.export.web.page import PACKAGE, check_web, runtime_of, web_page

__all__ = ["PACKAGE", "check_web", "runtime_of", "web_page"]
