"""Where the parts meet: recipe -> turns -> samples -> chosen -> rendered -> blocks -> build folder."""
