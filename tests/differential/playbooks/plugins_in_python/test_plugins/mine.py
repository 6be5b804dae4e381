class TestModule:
    def tests(self):
        return {"big": lambda value, than=10: value > than}
