"""What SageMaker's containers run; stands alone, beside it lies all that it imports."""
