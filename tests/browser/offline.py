"""Pages made of files: they must not need the network, and what they say to the console is collected."""

import contextlib


@contextlib.contextmanager
def offline_page(browser, **options):
    """A page that can open files only; in `page.complaints` every other request, console error and exception."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.complaints = []

    def decide(route):
        if route.request.url.startswith(("file:", "data:", "about:", "blob:")):
            route.continue_()
        else:
            page.complaints.append(f"request: {route.request.url}")
            route.abort()

    context.route("**/*", decide)
    page.on("console", lambda said: page.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()
