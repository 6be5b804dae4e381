class TestModule:
    def tests(self):
        return {"loud": lambda text: text.endswith("!")}
