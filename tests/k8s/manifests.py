class Manifests:
    def __init__(self, root):
        self.root = root
