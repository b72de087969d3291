# Thin on purpose: without make, run python3 dev.py VERB. To pass options to pytest: make test ARGS="-k slug"
.PHONY: demo test quick soak clean benchmarks
demo test quick soak clean benchmarks:
	python3 dev.py $@ $(ARGS)
