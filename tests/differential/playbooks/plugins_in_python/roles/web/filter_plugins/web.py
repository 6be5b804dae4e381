class FilterModule:
    def filters(self):
        return {"as_url": lambda name, port=80: "http://%s:%d" % (name, port)}
